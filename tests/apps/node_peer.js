// The celery-node package as a peer: `node node_peer.js ROLE BROKER RESULTS ...`, with the package on NODE_PATH.
//
// worker   runs shared.add, shared.where and shared.fails, whoever sent them, until it is ended.
// client   PROTOCOL [TASK, ...ARGS]...   sends these and prints what it reads as the result of each.

const celery = require("celery-node");

const [role, broker, results, protocol, ...calls] = process.argv.slice(2);

if (role === "worker") {
  const worker = celery.createWorker(broker, results);
  worker.register("shared.add", (x, y) => x + y);
  worker.register("shared.where", () => "node");
  worker.register("shared.fails", (text) => {
    throw new Error(text);
  });
  worker.start();
  worker.isReady().then(() => console.log("ready"));
} else {
  const client = celery.createClient(broker, results);
  client.conf.TASK_PROTOCOL = Number(protocol);
  const told = calls.map((call) => {
    const [task, ...args] = JSON.parse(call);
    const result = client.createTask(task).applyAsync(args);
    return result.get(60000, 50).catch((error) => error.message);
  });
  Promise.all(told).then((values) => {
    console.log(JSON.stringify(values));
    process.exit(0);
  });
}
