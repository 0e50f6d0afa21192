// In: a configuration and a lease. Out: the gate's own pipeline with enforcement off, for comparison: whoever
// calls has that lease, policy always says allow, nothing is revoked, recorded or counted. What a proxy has
// to do anyway stays on. Exists here only; nothing in src/ can be switched off like this.
import { Actions } from '../src/approval/actions.ts'
import { createSealer } from '../src/approval/seal.ts'
import type { Config } from '../src/config.ts'
import type { Gate } from '../src/enforce/gate.ts'
import { LeftMemory } from '../src/enforce/left.ts'
import { RecentCallCounter } from '../src/enforce/recent.ts'
import { createRouter } from '../src/enforce/route.ts'
import { WaitingRoom } from '../src/enforce/waiting.ts'
import { createForwarder } from '../src/http/forward.ts'
import { InFlight } from '../src/http/in_flight.ts'
import { createProxyListener, type ProxyListener } from '../src/http/listen.ts'
import { newTraceparent } from '../src/http/trace.ts'
import { createUpgrader } from '../src/http/upgrade.ts'
import { newId } from '../src/lease/ids.ts'
import type { Lease } from '../src/lease/lease.ts'
import type { Approvals, Policy, Revocations } from '../src/ports.ts'
import { authority } from './fixture.ts'

const unused = (): Promise<never> =>
  Promise.reject(new Error('the benchmark asks for nothing that needs this'))

const revocations: Revocations = {
  revoke: unused,
  suspend: unused,
  find: () => undefined,
  suspension: () => undefined,
  confirm: () => undefined,
  ageMs: () => 0,
  size: () => 0,
  malformed: () => ({ takenAsRevoked: 0, unreadable: 0 }),
  faults: () => [],
  watch: () => () => undefined,
}
const approvals: Approvals = { use: unused }
const policy: Policy = { digest: 'none', evaluate: () => ({ effect: 'allow', reasons: [] }) }

/** The listener of the gate that `config` describes, with `openGate` behind it. */
export function unenforcedListener(config: Config, lease: Lease): ProxyListener {
  return createProxyListener(
    openGate(config, lease),
    {
      forwarder: createForwarder(config.backends),
      upgrader: createUpgrader(),
      inFlight: new InFlight({
        revocations,
        maxStalenessMs: config.state.maxStalenessMs,
        clock: Date.now,
        clockOffset: () => 0,
      }),
      bodyIdleMs: config.limits.bodyIdleMs,
    },
    config.limits,
  )
}

function openGate({ backends, publicOrigin, via, limits }: Config, lease: Lease): Gate {
  const recent = new RecentCallCounter()
  const left = new LeftMemory(Date.now)
  return {
    publicOrigin,
    publicScheme: 'http',
    issuers: [],
    proofAlgorithms: [],
    certificateBound: false,
    backends,
    rules: { ...limits, authorities: new Set([authority]), encodedSlash: false, via },
    router: createRouter(backends),
    audiences: new Map(backends.map((backend) => [backend, []])),
    everyAudience: [],
    verifier: { verify: () => lease },
    proofs: { verify: unused, nonce: () => '' },
    evidence: {
      revocations,
      budgets: { look: unused },
      left,
      recent,
      maxStalenessMs: 0,
      inspectedBodyBytes: limits.inspectedBodyBytes,
      deadlineMs: limits.gatherMs,
      clock: Date.now,
      clockOffset: () => 0,
    },
    policy: () => policy,
    humans: {
      actions: new Actions({ get: unused, write: unused, list: unused }, createSealer('unused')),
      findRepeat: unused,
      notices: { writes: () => [] },
      newActionId: () => 'act_',
      waiting: new WaitingRoom({ all: 0, ofLease: 0 }),
      maxBodyBytes: 0,
      maxWaitSeconds: 0,
      maxPending: 0,
    },
    commits: {
      budgets: { spend: unused, giveBack: unused },
      rates: {},
      left,
      notGivenBack: () => undefined,
      approvals,
      revocations,
      recent,
      intents: { fault: () => undefined, intend: unused },
      deadlineMs: limits.gatherMs,
      readsOnFault: 'refuse',
    },
    newDecisionId: (nowMs) => newId('dec_', nowMs),
    newTraceparent,
    observer: {
      begin: () => Number.NaN,
      step: () => undefined,
      finished: () => undefined,
      bug: () => undefined,
    },
  }
}
