// Embeds texts by a Trunkline mesh and compares them with the first one:
//   node examples/node/embed.js "A cat sleeps." "A kitten naps." "Stocks fell."
const { connect, fail, within } = require("./client");

const given = process.argv.slice(2);
const texts = given.length
  ? given
  : ["A cat sleeps on the sofa.", "A kitten naps on the couch.", "The stock market fell today."];

const client = connect();
// With `normalize` every vector has length 1, and the cosine of two is their dot product.
client.Embed({ model: "all-minilm-l6-v2", texts, normalize: true }, within(30), (error, response) => {
  client.close();
  if (error) return fail(error);
  const vectors = response.embeddings.map((embedding) => embedding.values);
  vectors.forEach((vector, i) => {
    const cosine = vector.reduce((sum, value, j) => sum + value * vectors[0][j], 0);
    console.log(`${cosine.toFixed(3)}  ${texts[i]}  (${vector.length} values)`);
  });
});
