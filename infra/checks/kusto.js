// Judges queries with Microsoft's own Kusto language service. In: {tables: {name: {column: type}}, queries: {name: text}},
// out: {name: [{line, text}]}, errors only, each with the service's code.
require('@kusto/language-service-next/bridge.min.js');
require('@kusto/language-service-next/Kusto.Language.Bridge.min.js');

const { tables, queries } = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const { GlobalState, KustoCode, Symbols } = Kusto.Language;
const symbols = Object.entries(tables).map(([name, columns]) => {
  const schema = Object.entries(columns).map(([column, type]) => `['${column}']:${type}`).join(', ');
  return new Symbols.TableSymbol.From(`(${schema})`).WithName(name);
});
const globals = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.$ctor1('telemetry', symbols, false));
const said = {};
for (const [name, text] of Object.entries(queries)) {
  const found = KustoCode.ParseAndAnalyze(text, globals).GetDiagnostics();
  said[name] = [];
  for (let i = 0; i < found.Count; i++) {
    const { Severity, Code, Message, Start } = found.getItem(i);
    if (Severity === 'Error') said[name].push({ line: text.slice(0, Start).split('\n').length, text: `${Code} ${Message}` });
  }
}
console.log(JSON.stringify(said));
