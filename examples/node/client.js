// What the examples share: a client made of the descriptor set that Trunkline's wheel ships (no code generation).
// TRUNKLINE_DESCRIPTORS names the file; in a checkout it is gen/trunkline/descriptors.binpb.
const fs = require("node:fs");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const DESCRIPTORS =
  process.env.TRUNKLINE_DESCRIPTORS ??
  path.join(__dirname, "..", "..", "gen", "trunkline", "descriptors.binpb");

// Returns a client of InferenceService.
function connect() {
  return connectTo("trunkline.inference.v1.InferenceService");
}

// Returns a client of the service of this full name.
function connectTo(service) {
  const definition = protoLoader.loadFileDescriptorSetFromBuffer(fs.readFileSync(DESCRIPTORS), {
    keepCase: true, // field names as the protos have them
    oneofs: true, // response.event says which of `delta` and `finish` is there
    longs: Number,
    enums: String,
  });
  const address = process.env.TRUNKLINE_ADDRESS ?? "127.0.0.1:8080";
  const loaded = grpc.loadPackageDefinition(definition);
  const Client = service.split(".").reduce((within, name) => within[name], loaded);
  return new Client(address, grpc.credentials.createInsecure());
}

// Every call has a deadline: without one, a caller that has lost interest would keep a model busy.
const within = (seconds) => ({ deadline: Date.now() + seconds * 1000 });

function fail(error) {
  console.error(`${grpc.status[error.code]}: ${error.details}`);
  process.exitCode = 1;
}

module.exports = { connect, connectTo, fail, within };
