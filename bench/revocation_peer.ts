// In: a store as JSON, as revocation.ts writes it. Out: for every revocation that some other process wrote,
// the moment from which this one refuses the lease.
import { isSuspension } from '../src/ports.ts'
import { open, type Refused, revokedLease } from './revocation_store.ts'

const store = await open(JSON.parse(process.argv[2]!))
store.revocations.watch((entry) => {
  if (isSuspension(entry)) return
  const { value } = entry
  const { revocationKeys, issuedAt } = revokedLease(value)
  if (store.revocations.find(revocationKeys, issuedAt) === undefined)
    throw new Error('a revoked lease passes')
  const refused: Refused = { value, atNs: String(process.hrtime.bigint()) }
  process.send?.(refused)
})
process.once('disconnect', () => process.exit())
process.send?.('ready')
