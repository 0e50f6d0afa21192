// The short-lived process that explains one decision for the control listener: a job in and the document out over the
// IPC channel, then it ends. The search for the smallest change asks the policy thousands of times, which the serving
// process never does.
import type { Diagnostic } from './diagnostic.ts'
import { PolicyError } from './diagnostic.ts'
import { explain } from './explain.ts'
import { dataFile, explanationJson, hiddenReads } from './explain_json.ts'
import type { Subject } from './explain_subject.ts'
import type { PolicySources } from './sources.ts'

/** What is explained, by which policy. */
export interface ExplainJob {
  readonly subject: Subject
  readonly sources: PolicySources
  /** Names of the policy's files, for where to change something. */
  readonly files: readonly string[]
}

/** `diagnostics`: the policy there cannot be compiled. */
export type ExplainReply = { readonly explained: object } | { readonly diagnostics: readonly Diagnostic[] }

async function work({ subject, sources, files }: ExplainJob): Promise<ExplainReply> {
  try {
    const explanations = await explain(sources, subject.inputs)
    const told = explanations.map((explanation, at) => {
      const fileOf = (path: Parameters<typeof dataFile>[0]) => dataFile(path, files)
      const edited = { input: subject.inputs[at]!, data: sources.data, fileOf }
      return { explanation, edited, hidden: hiddenReads(explanation, subject.recorded) }
    })
    return { explained: explanationJson(subject, told) }
  } catch (thrown) {
    if (!(thrown instanceof PolicyError)) throw thrown
    return { diagnostics: thrown.diagnostics }
  }
}

process.once('message', (job: ExplainJob) => {
  work(job).then(
    (reply) => process.send?.(reply, () => process.exit(0)),
    (thrown: unknown) => {
      process.stderr.write(thrown instanceof Error ? thrown.message : 'unknown failure')
      process.exit(1)
    },
  )
})
