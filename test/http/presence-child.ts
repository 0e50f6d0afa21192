// In: the state file and an id as arguments. Out: a line once others know that it is up; then it stays up, and says
// so every 100 ms, for a second each, so that the test can kill it.
import { startPresence } from '../../src/http/presence.ts'
import { readStatus } from '../../src/http/status.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { gateNow, gateSelf } from './presence_samples.ts'

const [path, id] = process.argv.slice(2)
if (path === undefined || id === undefined) throw new Error('usage: presence-child.ts PATH ID')
const store = await openEmbedded({ path, maxStalenessMs: 2000 })
const parts = { store, clock: Date.now }
startPresence({
  ...parts,
  self: gateSelf(id),
  now: async () => gateNow,
  onError: (error) => process.stderr.write(String(error)),
  everyMs: 100,
  keepMs: 1000,
})
while ((await readStatus(parts)).gates.length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
process.stdout.write('up\n')
setInterval(() => {}, 1000)
