// Where policies in shadow meet real traffic: the end of a walk in, differences in metrics and audit out. Two
// may run: the live policy with its rules marked shadow (`rule`), and a whole candidate (`candidate`). Never
// throws, never waits, never changes what was decided.
import type { Trail } from '../enforce/gate.ts'
import { formatDiagnostic } from '../policy/diagnostic.ts'
import type { PolicyModule } from '../policy/evaluate.ts'
import type { PolicyEvent } from '../policy/live.ts'
import { type ShadowDifference, type ShadowLimits, ShadowPolicy } from '../policy/shadow.ts'
import type { AuditSink } from '../ports.ts'
import { auditEvent } from './audit.ts'
import type { Logger } from './log.ts'
import type { Metrics } from './metrics.ts'

/** Which of the two a difference comes from. */
export type ShadowSource = 'rule' | 'candidate'

export interface ShadowParts {
  readonly audit: AuditSink
  readonly metrics: Metrics
  readonly log: Logger
  readonly limits?: Partial<ShadowLimits>
  /** Another process records what runs in shadow; here are the differences alone. */
  readonly told?: 'elsewhere'
}

/** The policies in shadow, both off until they are given something to run. */
export interface Shadow {
  /** The live policy has changed: its rules marked shadow run from now on, if there are any. */
  live(module: PolicyModule, digest: string): void
  /** The candidate has changed, or a change of it cannot be used; `module` is what runs from now on. */
  candidate(event: PolicyEvent, module: PolicyModule | undefined): void
  /** Called with each finished walk. */
  finished(trail: Pick<Trail, 'consultation' | 'policyDigest' | 'decisionId'>): void
  /** For `/readyz`: one per source that is wanted. */
  status(): readonly { readonly source: ShadowSource; readonly detail: string }[]
  close(): Promise<void>
}

/** Difference lines a second, of each source; the rest is counted in the line after them. */
const linesPerSecond = 20

/** Creates both; nothing runs yet. */
export function createShadow(parts: ShadowParts): Shadow {
  const rule = createSource('rule', parts)
  const candidate = createSource('candidate', parts)
  return {
    live({ shadow, data }, digest) {
      if (shadow !== undefined) rule.use({ wasm: shadow, data }, digest)
      else if (rule.wanted()) rule.stop()
    },
    candidate(event, module) {
      if (event.type === 'reloaded' && module !== undefined) candidate.use(module)
      else if (event.type === 'rejected') candidate.reject(event.diagnostics.map(formatDiagnostic))
    },
    finished({ consultation, policyDigest, decisionId }) {
      if (consultation === undefined || policyDigest === undefined) return
      if (!rule.wanted() && !candidate.wanted()) return
      const question = { ...consultation, decisionId, policyDigest }
      rule.policy.ask(question)
      candidate.policy.ask(question)
    },
    status: () => [rule, candidate].filter((each) => each.wanted()).map((each) => each.status()),
    async close() {
      await Promise.all([rule.policy.close(), candidate.policy.close()])
    },
  }
}

/** One source: its thread, what is known about it, and where its differences go. */
function createSource(source: ShadowSource, { audit, metrics, log, limits, told }: ShadowParts) {
  let wanted = false
  /** Why the newest content does not run, or nothing does. */
  let problem: string | undefined
  const write = differenceWriter(source, audit)
  const tell = (facts: object) => {
    if (told === undefined) audit.append(auditEvent('shadow_policy', { source, ...facts }))
  }
  const policy = new ShadowPolicy({
    onDifference(difference) {
      const { question, answer } = difference
      metrics.shadowDifference(source, question.answer.effect, answer.effect)
      write(difference)
    },
    onFailed(reason) {
      problem = `off until the next change: ${reason}`
      tell({ off: reason })
      log.error({ source, reason }, 'shadow is off until the next change of that policy; nobody is affected')
    },
    ...(limits === undefined ? {} : { limits }),
  })
  metrics.shadow(source, {
    counts: () => policy.counts,
    running: () => (wanted ? policy.digest !== undefined : undefined),
  })
  return {
    policy,
    wanted: () => wanted,
    use(module: PolicyModule, liveDigest?: string) {
      wanted = true
      problem = undefined
      policy.use(module, liveDigest)
      const { digest } = policy
      if (digest === undefined) return
      tell({ digest })
      log.info({ source, policy_digest: digest }, 'a policy runs in shadow')
    },
    reject(rejected: readonly string[]) {
      wanted = true
      problem = `the newest was rejected: ${rejected.join('\n')}`
      // What ran before is no longer what its authors are trying.
      policy.use(undefined)
      tell({ rejected })
      log.error({ source, rejected }, 'the candidate policy cannot be used; nobody is affected')
    },
    stop() {
      wanted = false
      problem = undefined
      policy.use(undefined)
    },
    status() {
      const runs = policy.digest === undefined ? 'nothing runs' : `${policy.digest} runs`
      return { source, detail: problem === undefined ? runs : `${runs}; ${problem}` }
    },
  }
}

/** Writes an audit line per difference, `linesPerSecond` at most. */
function differenceWriter(source: ShadowSource, audit: AuditSink): (difference: ShadowDifference) => void {
  let second = 0
  let written = 0
  let omitted = 0
  return ({ question, digest, answer: { effect, reasons, fault } }) => {
    const now = Math.floor(performance.now() / 1000)
    if (now !== second) {
      second = now
      written = 0
    }
    if (written >= linesPerSecond) {
      omitted++
      return
    }
    written++
    const { decisionId, policyDigest, answer: live } = question
    const facts = {
      source,
      decision_id: decisionId,
      live: { effect: live.effect, reasons: live.reasons, digest: policyDigest },
      shadow: { effect, reasons, digest, ...(fault === undefined ? {} : { fault }) },
      ...(omitted === 0 ? {} : { omitted }),
    }
    omitted = 0
    audit.append(auditEvent('shadow', facts))
  }
}
