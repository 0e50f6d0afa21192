// Runs under `ulimit -f`, so that the kernel refuses writes past a few KiB: EFBIG where a full disk says
// ENOSPC. Fills the audit file, moves it away as log rotation does, and tells what happened, as JSON.
import { renameSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { openAuditFile } from '../../src/telemetry/audit_file.ts'

const path = process.argv[2]!
const errors: string[] = []
let lost = 0
const sink = await openAuditFile(path, {
  onError: (error) => errors.push(error.message),
  onLost: (count) => {
    lost += count
  },
})
const pad = 'x'.repeat(1000)

let written = 0
while (sink.fault() === undefined) {
  sink.append(JSON.stringify({ n: written++, pad }))
  await new Promise((resolve) => setImmediate(resolve))
}
const durable = await sink.appendDurably('{"n":"durable"}').then(
  () => 'resolved',
  (error: Error) => error.message,
)
const fault = sink.fault()
for (let more = 0; more < 10_100; more++) sink.append(JSON.stringify({ n: written++ }))
renameSync(path, `${path}.1`)
while (sink.fault() !== undefined) await sleep(50)
await sink.close()
process.stdout.write(JSON.stringify({ written, lost, durable, fault, errors }))
