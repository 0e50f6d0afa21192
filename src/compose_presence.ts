// The part of compose.ts that tells the others on this store that this process is up: parts in, a record that is
// written anew every few seconds. A worker says nothing of its own: its supervisor does. Decides nothing.
import { hostname } from 'node:os'
import type { Closers, Parts, Roles } from './compose_parts.ts'
import type { Readiness } from './http/health.ts'
import { type GateNow, type GateRole, startPresence } from './http/presence.ts'
import { newId } from './lease/ids.ts'
import { version } from './version.ts'

/** Says so from now on; `readiness` is what `/readyz` says. */
export function composePresence(
  parts: Parts,
  closers: Closers,
  readiness: () => Promise<readonly Readiness[]>,
): void {
  const { config, roles, store, policy, log } = parts
  const now = async (): Promise<GateNow> => {
    const unready = (await readiness()).filter(({ ready }) => !ready)
    const ageMs = store.revocations.ageMs(Date.now())
    return {
      policy_digest: policy.current.digest,
      revocation_age_ms: Number.isFinite(ageMs) ? Math.round(ageMs) : null,
      revocation_entries: store.revocations.size(),
      ready: unready.length === 0,
      faults: unready.map(({ name, detail }) => `${name}: ${detail}`),
    }
  }
  const presence = startPresence({
    store,
    self: {
      id: newId('gate_', Date.now()),
      host: hostname(),
      pid: process.pid,
      role: roleOf(roles),
      workers: roles.gate ? config.workers : 0,
      version,
      store: store.kind,
    },
    now,
    clock: Date.now,
    onError: (error) => log.warn({ err: error }, 'other gates cannot be told that this one is up'),
  })
  closers.push(() => presence.close())
}

function roleOf({ gate, broker }: Roles): GateRole {
  if (gate && broker) return 'both'
  return gate ? 'gate' : 'broker'
}
