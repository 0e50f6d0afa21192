// What a gate says of itself, for tests that change what matters to them.
import type { GateNow, GateSelf } from '../../src/http/presence.ts'

/** A gate that is ready. */
export const gateNow: GateNow = {
  policy_digest: 'sha256:00',
  revocation_age_ms: 12,
  revocation_entries: 3,
  ready: true,
  faults: [],
}

/** One gate, under a name of the test's choice. */
export function gateSelf(id: string): GateSelf {
  return { id, host: 'host.example', pid: 7, role: 'both', workers: 1, version: '0.1.0', store: 'embedded' }
}
