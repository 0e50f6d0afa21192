// In: the state file, what to write and a lease id as arguments. Out: the line `acknowledged` once that is
// written; then it stays alive so that the test can kill it at that very moment.
import type { Store } from '../../src/ports.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { lease, revocation, suspension } from './samples.ts'

const writes: Record<string, (store: Store, id: string) => Promise<unknown>> = {
  revoke: (store, id) => store.revocations.revoke(revocation(id, { by: 'child' })),
  suspend: (store, id) => store.revocations.suspend(suspension(id, { by: 'child' })),
  put: (store, id) => store.leases.put(lease(id)),
  renew: (store, id) =>
    store.leases.renew(id, { issuedAt: lease(id).issuedAt, expiresAt: lease(id).maxExpiresAt }),
  complete: (store, id) =>
    store.leases.transition(id, { from: ['active'], to: 'completed', at: 1, by: 'child', reason: 'done' }),
  use: (store, id) => {
    const at = Date.now() / 1000
    return store.replay.use(id, at + 60, at)
  },
}

const [path, what, id] = process.argv.slice(2)
const write = writes[what ?? '']
if (path === undefined || write === undefined || id === undefined) {
  throw new Error(`usage: write-child.ts PATH ${Object.keys(writes).join('|')} LEASE`)
}
await write(await openEmbedded({ path, maxStalenessMs: 2000 }), id)
process.stdout.write('acknowledged\n')
setInterval(() => {}, 1000)
