// In: the state file and the URL of a place as arguments. Out: what waits for that place is sent; a real process, so
// that a test can kill it in the middle.
import { startSender } from '../../src/notify/sender.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { placeAt } from './subjects.ts'

const [path, url] = process.argv.slice(2)
if (path === undefined || url === undefined) throw new Error('usage: notice-child.ts PATH URL')
const { records } = await openEmbedded({ path, maxStalenessMs: 2000 })
startSender({
  records,
  destinations: [placeAt(url)],
  consoleUrl: 'https://leasegate.example',
  isPending: async () => true,
  clock: Date.now,
  metrics: createMetrics({ backends: [], version: '1' }),
  log: createLogger({ level: 'error' }),
  pace: { timeoutMs: 2_000, backOffMs: 20, pollMs: 20 },
})
