// The part of compose.ts that takes the policy of a worker from its supervisor, which has compiled it, run its
// tests and tried it: in, what the supervisor gives; out, the policy that decides. Compiles nothing.
import type { ComposedPolicy, PolicyNeeds } from './compose_policy.ts'
import type { LoadedPolicy } from './policy/evaluate.ts'
import { load } from './policy/live.ts'
import type { GivenPolicy } from './workers/messages.ts'

/** The policy of a worker. */
export interface GivenPolicies extends ComposedPolicy {
  /**
   * Decides by `given` from now on; one after the other, in the order of the calls. Rejects when it is not what its
   * digest says or cannot be loaded: then this process cannot decide as the others do, and has to end.
   */
  accept(given: GivenPolicy): Promise<void>
}

/** Rejects as `accept` does. */
export async function composeGiven(
  first: GivenPolicy,
  { log, metrics, shadow }: Pick<PolicyNeeds, 'log' | 'metrics' | 'shadow'>,
): Promise<GivenPolicies> {
  // The supervisor follows activations and says whether it keeps up; here there is nothing to fall behind.
  metrics.policyConverged(() => true)
  let given = first
  let current = await loadGiven(first)
  let tried: number | undefined
  let turn: Promise<void> = Promise.resolve()

  const adopt = (next: GivenPolicy, loaded: LoadedPolicy) => {
    const { candidate } = next
    metrics.policyInfo(loaded.digest)
    shadow.live(next.module, loaded.digest)
    if (candidate !== undefined && candidate.number !== tried) {
      shadow.candidate(candidate.event, candidate.module)
      tried = candidate.number
    }
    given = next
    current = loaded
  }
  adopt(first, current)

  const replace = async (next: GivenPolicy) => {
    const isSame = next.digest === current.digest
    adopt(next, isSame ? current : await loadGiven(next))
    if (!isSame) log.info({ policy_digest: next.digest }, 'policy taken over')
  }
  return {
    get current() {
      return current
    },
    accept(next) {
      turn = turn.then(() => replace(next))
      return turn
    },
    async reloadNow() {},
    given: () => given,
    watch() {},
    readiness: () => [{ name: 'policy', ready: true, detail: current.digest }],
    close: () => turn.catch(() => {}),
  }
}

/** Loads it, and believes its name no earlier than it has computed it. */
async function loadGiven({ digest, module }: GivenPolicy): Promise<LoadedPolicy> {
  const policy = await load(module)
  if (policy.digest !== digest) throw new Error(`the supervisor's policy ${digest} is ${policy.digest}`)
  return policy
}
