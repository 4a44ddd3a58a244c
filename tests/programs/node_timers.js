// What: Node with timers, promises, worker pool file writes and a worker thread.
// Go: file
// Copy: no
// Needs: node
const fs = require("fs"), path = require("path"), { Worker } = require("worker_threads");
const folder = process.argv[2], at = (name) => path.join(folder, name);
let ticks = 0, chain = 0, replies = 0, writes = 0, last = performance.now(), wrong = "";
const worker = new Worker(
  `const { parentPort } = require("worker_threads"); parentPort.on("message", (n) => parentPort.postMessage(n * 2));`,
  { eval: true });
worker.on("message", (n) => {
  if (n !== replies * 2) wrong = `reply ${replies} is ${n}`;
  replies++;
  setTimeout(() => worker.postMessage(replies), 1);
});
worker.postMessage(0);
const interval = setInterval(() => {
  const now = performance.now();
  if (now < last) wrong = "time ran backwards";
  last = now;
  ticks++;
}, 3);
let going = true;
(async () => {
  while (going) {
    await new Promise((r) => setTimeout(r, 2));
    chain++;
    await fs.promises.appendFile(at("lines"), `${writes}\n`);
    writes++;
    if (chain >= 20 && ticks > 5 && replies > 5) fs.writeFileSync(at("ready"), "");
  }
  clearInterval(interval);
  await worker.terminate();
  const lines = fs.readFileSync(at("lines"), "utf8").trim().split("\n");
  lines.forEach((l, i) => { if (Number(l) !== i) wrong = `line ${i} is ${l}`; });
  if (lines.length !== writes || ticks < 5 || replies < 5) wrong ||= `${lines.length} lines, ${ticks} ticks, ${replies} replies`;
  fs.writeFileSync(at("part"), (wrong || "OK") + "\n");
  fs.renameSync(at("part"), at("result"));
  process.exit(wrong ? 1 : 0);
})();
setInterval(() => { if (fs.existsSync(at("go"))) going = false; }, 5);
