// Streams an answer from a Trunkline mesh:
//   node examples/node/generate.js What is the capital of France?
const { connect, fail, within } = require("./client");

const question = process.argv.slice(2).join(" ") || "What is the capital of France?";
const client = connect();
const call = client.Generate(
  {
    model: "smollm2-135m-instruct",
    chat: { messages: [{ role: "user", content: question }] },
    max_tokens: 64,
    temperature: 0,
  },
  within(120),
);

call.on("data", (response) => {
  if (response.event === "delta") {
    process.stdout.write(response.delta.text);
  } else {
    const { prompt_tokens, completion_tokens } = response.finish.usage;
    console.log(`\n[${prompt_tokens} tokens read, ${completion_tokens} made]`);
  }
});
call.on("error", fail);
call.on("end", () => client.close());
process.on("SIGINT", () => call.cancel()); // frees the answer's place in the model at once
