// How does a case tell how it went? One line of JSON each, to standard output.
"use strict";

const LIMIT_MS = 60_000;

// This client cannot express the case.
class Skip extends Error {}

async function check(name, body) {
  let clock;
  const limit = new Promise((_, reject) => {
    clock = setTimeout(() => reject(new Error(`does not end within ${LIMIT_MS} ms`)), LIMIT_MS);
  });
  let told = { case: name, outcome: "passed", why: "" };
  try {
    await Promise.race([body(), limit]);
  } catch (error) {
    told = { case: name, outcome: error instanceof Skip ? "skipped" : "failed", why: error?.message ?? String(error) };
  }
  clearTimeout(clock);
  process.stdout.write(JSON.stringify(told) + "\n");
}

function equal(what, got, want) {
  const [shown, wanted] = [JSON.stringify(got), JSON.stringify(want)];
  if (shown !== wanted) throw new Error(`${what}: ${shown}, should be ${wanted}`);
}

// The error must have the code, where the client keeps it, and say the words.
async function refused(body, code, words) {
  let came;
  try {
    came = await body();
  } catch (error) {
    if (code !== undefined && error.code !== undefined && Number(error.code) !== code) {
      throw new Error(`was refused with code ${error.code}, should be ${code}: ${error.message}`);
    }
    if (!error.message.includes(words)) throw new Error(`the error does not say '${words}': ${error.message}`);
    return;
  }
  throw new Error(`was accepted: ${came}`);
}

// `-name value` pairs, as all these programs are told.
function options() {
  const words = process.argv.slice(2);
  const given = {};
  for (let at = 0; at < words.length; at += 2) given[words[at].replace(/^-/, "")] = words[at + 1];
  return given;
}

// Runs the whole program: it ends when its cases have, with what is still open.
function main(run) {
  run(options()).then(
    () => process.stdout.write("", () => process.exit(0)),
    (error) => {
      process.stderr.write(`${error?.stack ?? error}\n`);
      process.exit(1);
    },
  );
}

module.exports = { Skip, check, equal, refused, main };
