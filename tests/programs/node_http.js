// What: a Node HTTP server with ten keep-alive clients in flight and a long download; none of them sees an error.
// Go: file
// Copy: no
// Needs: node
// Options: --tcp-established
const fs = require("fs"), http = require("http"), path = require("path");
const folder = process.argv[2], at = (name) => path.join(folder, name);
let wrong = "", going = true, rounds = 0;
const counts = new Map();
const server = http.createServer((req, res) => {
  if (req.url === "/download") {
    let n = 0;
    const more = () => {
      if (!going) return res.end();
      while (res.write(String(n++ % 10).repeat(1000)));
      res.once("drain", () => setTimeout(more, 5));
    };
    return more();
  }
  const client = req.headers["x-client"];
  counts.set(client, (counts.get(client) || 0) + 1);
  res.end(`${client}:${counts.get(client)}`);
});
server.keepAliveTimeout = 60000;
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address();
  for (let c = 0; c < 10; c++) {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    let expected = 0;
    const ask = () => {
      if (!going) return agent.destroy();
      http.get({ port, host: "127.0.0.1", path: "/", agent, headers: { "x-client": String(c) } }, (res) => {
        let text = "";
        res.on("data", (d) => (text += d));
        res.on("end", () => {
          if (text !== `${c}:${++expected}`) wrong ||= `client ${c} got ${text} instead of ${expected}`;
          rounds++;
          setTimeout(ask, 1);
        });
      }).on("error", (e) => (wrong ||= `client ${c}: ${e}`));
    };
    ask();
  }
  let got = 0;
  http.get({ port, host: "127.0.0.1", path: "/download" }, (res) => {
    res.on("data", (d) => {
      for (const byte of d) if (byte !== 48 + (Math.floor(got++ / 1000) % 10)) wrong ||= `byte ${got} of the download`;
      if (got > 100000 && rounds > 50 && !fs.existsSync(at("ready"))) fs.writeFileSync(at("ready"), "");
    });
    res.on("error", (e) => (wrong ||= `the download: ${e}`));
    res.on("end", () => {
      if (going) wrong ||= "the download ended";
      fs.writeFileSync(at("part"), (wrong || "OK") + "\n");
      fs.renameSync(at("part"), at("result"));
      process.exit(wrong ? 1 : 0);
    });
  });
});
const before = () => rounds;
let seen = 0;
setInterval(() => {
  if (!fs.existsSync(at("go"))) return (seen = before());
  // Every client has been served again, or has said why not.
  if (rounds > seen + 50 || wrong) going = false;
}, 5);
