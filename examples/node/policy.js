// An environment in JavaScript that learns by a Trunkline mesh: a corridor of ten places, where only the far end pays.
//   node examples/node/policy.js [steps]
// The environment is here; observations, rewards and everything that learns go over one stream.
const crypto = require("node:crypto");
const { connectTo, fail } = require("./client");

const PLACES = 10;
const steps = Number(process.argv[2] ?? 2000);
const policy = `corridor-${crypto.randomBytes(4).toString("hex")}`;
const client = connectTo("trunkline.policy.v1.PolicyService");

// One step of the environment: 0 goes left, 1 goes right; the last place ends the episode and pays 1.
function step(place, action) {
  const next = Math.max(0, place + (action === 1 ? 1 : -1));
  return { next, reward: next === PLACES - 1 ? 1 : -0.01, terminated: next === PLACES - 1 };
}

const call = (method, request) =>
  new Promise((resolve, reject) => {
    const deadline = Date.now() + 60_000;
    client[method](request, { deadline }, (error, response) => (error ? reject(error) : resolve(response)));
  });

// A tensor of one place; numbers in tensors are little-endian.
function tensor(place) {
  const data = Buffer.alloc(8);
  data.writeBigInt64LE(BigInt(place));
  return { data_type: "DATA_TYPE_INT64", shape: [1], data };
}

// Plays `count` steps over one stream; returns the number of steps of each episode.
function play(stage, count, lockStep) {
  return new Promise((resolve, reject) => {
    const stream = client.Rollout();
    const lengths = [];
    let place = 0;
    let length = 0;
    let taken = 0;
    stream.on("error", reject);
    stream.on("end", () => resolve(lengths));
    stream.on("data", (answer) => {
      if (answer.message === "started") return stream.write({ step: { observations: tensor(place) } });
      if (taken++ === count) return stream.end();
      const action = Number(answer.actions.actions.data.readBigInt64LE(0));
      const { next, reward, terminated } = step(place, action);
      length += 1;
      const message = { rewards: [reward], observations: tensor(terminated ? 0 : next) };
      if (terminated) {
        Object.assign(message, { terminated: [true], final_observations: tensor(next) });
        lengths.push(length);
        length = 0;
      }
      place = terminated ? 0 : next;
      stream.write({ step: message });
    });
    stream.write({ start: { policy, environments: 1, stage, seed: 7, lock_step: lockStep } });
  });
}

async function main() {
  const environment = {
    name: "corridor",
    observation_space: { discrete: { n: PLACES } },
    action_space: { discrete: { n: 2 } },
  };
  const epsilon = { start: 1, end: 0.05, steps: Math.ceil(steps / 2) };
  await call("CreatePolicy", { name: policy, environment, algorithm: { q_learning: { epsilon } }, seed: 7 });
  await call("StartTraining", { policy, step_budget: steps });
  await play("EPISODE_STAGE_TRAINING", steps, true);
  await call("StopTraining", { policy });
  const lengths = await play("EPISODE_STAGE_EVALUATION", 3 * (PLACES - 1), false);
  console.log(`${policy}: after ${steps} steps an episode takes ${lengths[0]} (the least is ${PLACES - 1})`);
}

main()
  .catch(fail)
  .finally(() => client.close());
