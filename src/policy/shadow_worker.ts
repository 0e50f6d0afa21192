// The thread that a shadow policy runs in: batches of policy inputs in, counts and the answers that differ from
// the live ones out. Loads one policy when it starts and lives as long as that one is wanted.
import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import type { PolicyAnswer } from '../ports.ts'
import { answerText } from './answer_text.ts'
import { loadPolicy, type PolicyModule } from './evaluate.ts'

/** What the thread is started with. */
export type WorkerSetup = Pick<PolicyModule, 'wasm' | 'data'>

/** Inputs, and the text (`answerText`) of what the live policy said to each. */
export interface Batch {
  readonly inputs: readonly string[]
  readonly answers: readonly string[]
}

/** What the thread says: once that it has loaded its policy, then one reply per batch, in order. */
export type FromWorker = 'ready' | Reply

/** Every input of a batch is `same`, a fault, or differs; a fault that differs is in both of these. */
export interface Reply {
  readonly same: number
  readonly faults: number
  /** `at` is the place in the batch. */
  readonly different: readonly { readonly at: number; readonly answer: PolicyAnswer }[]
}

/** A tenth of a core that the gate wants whole: less, and a slow policy would look like one that hangs. */
const niceness = 10
const maxReasons = 32
const maxReasonChars = 200

// Where both want one core, requests come first. On Linux alone this is about the calling thread only.
if (process.platform === 'linux') setPriority(niceness)

const { wasm, data } = workerData as WorkerSetup
const policy = await loadPolicy({ wasm, data })
if (policy.hostBuiltins.length > 0) throw new Error(`the policy calls ${policy.hostBuiltins.join(', ')}`)
parentPort?.on('message', (batch: Batch) => parentPort?.postMessage(compare(batch)))
parentPort?.postMessage('ready' satisfies FromWorker)

function compare({ inputs, answers }: Batch): Reply {
  const different: { at: number; answer: PolicyAnswer }[] = []
  let same = 0
  let faults = 0
  for (const [at, input] of inputs.entries()) {
    const answer = policy.evaluate(input)
    const equal = answerText(answer) === answers[at]
    if (answer.fault !== undefined) faults++
    else if (equal) same++
    if (!equal) different.push({ at, answer: shown(answer) })
  }
  return { same, faults, different }
}

/** What is worth telling about an answer: a policy may give any number of reasons, of any length. */
function shown({ effect, reasons, fault }: PolicyAnswer): PolicyAnswer {
  return {
    effect,
    reasons: reasons.slice(0, maxReasons).map((reason) => reason.slice(0, maxReasonChars)),
    ...(fault === undefined ? {} : { fault }),
  }
}
