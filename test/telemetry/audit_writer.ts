// One of several processes that write to one audit file. In: the file, its own name, and how many records. Out: on
// standard output the numbers of those whose durable write was acknowledged, one a line.
import { setTimeout as sleep } from 'node:timers/promises'
import { openAuditFile } from '../../src/telemetry/audit_file.ts'

const [path = '', name = '', count = ''] = process.argv.slice(2)
const sink = await openAuditFile(path, { shared: true, onError: () => {} })
process.on('SIGHUP', () => void sink.reopen().catch(() => {}))
for (let n = 0; n < Number(count); n++) {
  const record = JSON.stringify({ name, n, pad: 'x'.repeat((n * 7919) % 9000) })
  if (n % 10 !== 0) sink.append(record)
  else {
    await sink.appendDurably(record).then(
      () => process.stdout.write(`${n}\n`),
      () => sleep(5),
    )
  }
  if (n % 50 === 0) await sleep(1)
}
while (sink.fault() !== undefined) await sleep(20)
await sink.close()
