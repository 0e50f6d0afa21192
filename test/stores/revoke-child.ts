// In: the state file and a lease id as arguments. Out: the line `acknowledged` once the lease is revoked;
// then it stays alive so that the test can kill it at that very moment.
import { openEmbedded } from '../../src/stores/embedded.ts'

const [path, value] = process.argv.slice(2)
if (path === undefined || value === undefined) throw new Error('usage: revoke-child.ts PATH LEASE')
const store = await openEmbedded({ path, maxStalenessMs: 2000 })
const at = Math.floor(Date.now() / 1000)
const times = { cutoff: at, expiresAt: at + 3600, at }
await store.revocations.revoke({ scope: 'lease', value, reason: 'test', by: 'child', ...times })
process.stdout.write('acknowledged\n')
setInterval(() => {}, 1000)
