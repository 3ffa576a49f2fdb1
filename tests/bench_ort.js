// A worker of bench_peers.py: onnxruntime-node. Reads a JSON object a line ({path, shape, threads, seconds}), answers with {ms} or {error}.
const ort = require('onnxruntime-node'), readline = require('readline');
const sessions = new Map();

async function session(path, threads) {
  const key = `${path} ${threads}`;
  if (!sessions.has(key))
    sessions.set(key, await ort.InferenceSession.create(path, {intraOpNumThreads: threads, interOpNumThreads: 1, executionMode: 'sequential',
      graphOptimizationLevel: 'all'}));
  return sessions.get(key);
}

async function time(q) {
  const s = await session(q.path, q.threads), size = q.shape.reduce((a, b) => a * b);
  const x = new ort.Tensor('float32', Float32Array.from({length: size}, () => Math.random() - 0.5), q.shape);
  const clock = () => { // ms: of one thread what it has of the processor, of several what passes
    const c = process.cpuUsage();
    return q.threads === 1 ? (c.user + c.system) / 1e3 : Number(process.hrtime.bigint()) / 1e6;
  };
  const runs = async n => { const t = clock(); for (let i = 0; i < n; i++) await s.run({x}); return Math.max(clock() - t, 1e-3); };
  const once = await runs(1);
  const n = Math.max(1, Math.min(10000, Math.floor(q.seconds * 1e3 / once)));
  return {ms: await runs(n) / n};
}

(async () => {
  console.log(JSON.stringify({version: 'onnxruntime-node ' + require('onnxruntime-node/package.json').version + ', node ' + process.version}));
  for await (const line of readline.createInterface({input: process.stdin}))
    console.log(JSON.stringify(await time(JSON.parse(line)).catch(e => ({error: String(e)}))));
})();
