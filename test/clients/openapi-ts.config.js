export default {
  input: './generated/openapi.json',
  // Node.js runs the client as it is, and resolves no import without its extension.
  output: { path: './generated/hey-api', module: { extension: '.ts' } },
}
