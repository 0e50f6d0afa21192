// In: the audit record of a decision. Out: what `policy explain` says of it, as a document; the same one again while the
// policy is the same. One child process at a time, for a bounded time (explain_child.ts); never explains here.
import { fork } from 'node:child_process'
import { setPriority } from 'node:os'
import { type Refusal, refuse } from '../refusals.ts'
import type { ExplainJob, ExplainReply } from './explain_child.ts'
import { explanationJson } from './explain_json.ts'
import { subjectOf } from './explain_record.ts'
import type { Subject } from './explain_subject.ts'

export interface ExplainerParts {
  /** Of the policy that decides now. */
  readonly digest: () => string
  /** That policy, with its rules where they can be had. Rejects where it cannot be read. */
  readonly policy: () => Promise<Pick<ExplainJob, 'sources' | 'files'>>
  readonly timeoutMs?: number
}

export interface Explainer {
  /** Refuses with `overloaded` where too many wait already, and with `evidence_unavailable` what takes too long. */
  explain(record: unknown): Promise<object | Refusal>
  close(): void
}

const keptExplanations = 100
const maxWaiting = 4
/** Below requests, which want the same cores. */
const niceness = 5
const suffix = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const childUrl = new URL(`./explain_child.${suffix}`, import.meta.url)

/** Nothing is started before the first question. */
export function createExplainer({ digest, policy, timeoutMs = 30_000 }: ExplainerParts): Explainer {
  const kept = new Map<string, object>()
  const closing = new AbortController()
  let waiting = 0
  let turn: Promise<unknown> = Promise.resolve()

  async function ask(subject: Subject): Promise<object | Refusal> {
    const name = `${subject.recorded?.decisionId}\n${digest()}`
    const known = kept.get(name)
    if (known !== undefined) return known
    const reply = await runChild({ subject, ...(await policy()) }, closing.signal, timeoutMs)
    if (reply === undefined) return unavailable('the policy was not explained in time')
    if ('diagnostics' in reply) return unavailable('the policy there cannot be compiled')
    kept.set(name, reply.explained)
    if (kept.size > keptExplanations) kept.delete(kept.keys().next().value!)
    return reply.explained
  }

  return {
    async explain(record) {
      const read = readSubject(record)
      if (read === undefined) return unavailable('this record is not one that can be explained')
      // A check refused before policy was asked, or the record has no input: there is nothing to run.
      if (read.inputs.length === 0) return explanationJson(read, [])
      if (waiting >= maxWaiting) return refuse('overloaded', { detail: 'others wait for an explanation' })
      waiting++
      const answer = turn.then(() => ask(read)).finally(() => waiting--)
      turn = answer.catch(() => undefined)
      return answer
    },
    close: () => closing.abort(),
  }
}

function unavailable(detail: string): Refusal {
  return refuse('evidence_unavailable', { detail })
}

function readSubject(record: unknown): Subject | undefined {
  const isNamed = typeof record === 'object' && record !== null && 'decision_id' in record
  try {
    return isNamed ? subjectOf(record, String(record.decision_id)) : undefined
  } catch {
    return undefined
  }
}

/** Undefined: it was ended, or ended by itself without an answer. */
function runChild(
  job: ExplainJob,
  signal: AbortSignal,
  timeoutMs: number,
): Promise<ExplainReply | undefined> {
  return new Promise((resolve) => {
    const child = fork(childUrl, {
      signal,
      env: {},
      execArgv: [],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    })
    try {
      if (child.pid !== undefined) setPriority(child.pid, niceness)
    } catch {
      // It has ended already, or processes may not be slowed down here.
    }
    let reply: ExplainReply | undefined
    child.on('message', (message: ExplainReply) => {
      reply = message
    })
    child.once('error', () => resolve(undefined))
    child.once('close', () => resolve(reply))
    child.send(job)
  })
}
