// A released draft comes back to the gate as a request. In: the action that people looked at, and what the request is
// under the operation map of now. Out: a refusal where the two are not the same. Changes nothing.
import { type Action, isSameMeaning } from '../approval/action.ts'
import { fingerprintOfCall } from '../approval/hold.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import type { RequestBody } from './gather.ts'
import type { Evidence } from './stages.ts'

/** Refuses with `out_of_scope` what is not the very action that was released, in bytes or in meaning. */
export async function refuseChanged(
  { what, fingerprint }: Action,
  evidence: Evidence,
  body: RequestBody,
): Promise<Refusal | undefined> {
  const bytes = evidence.bodyBytes ?? (await body.read(evidence.mapped.operation.bodyLimit))
  if (isRefusal(bytes)) return bytes
  const { operation, resource } = evidence.mapped
  const isSame = fingerprintOfCall(evidence, bytes) === fingerprint
  if (isSame && isSameMeaning({ ...operation, resource }, what)) return undefined
  return refuse('out_of_scope', { detail: 'the operation map has changed since: it would be another action' })
}
