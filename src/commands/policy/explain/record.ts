// In: the id of a decision and the audit files it may stand in. Out: what can be explained of its record.
import { subjectOf } from '../../../policy/explain_record.ts'
import type { Subject } from '../../../policy/explain_subject.ts'
import { findRecord } from '../../../telemetry/find_record.ts'
import { UsageError, unreadable } from '../../terminal.ts'

/** Finds the record. Throws an `Error` when no file has it, a `UsageError` when a file cannot be read. */
export async function readDecision(decisionId: string, files: readonly string[]): Promise<Subject> {
  let found: unknown
  for (const file of files) found = (await search(file, decisionId)) ?? found
  if (found === undefined)
    throw new Error(`no record of ${decisionId} in ${files.join(', ')}; name other audit files with --audit`)
  return subjectOf(found, decisionId)
}

async function search(file: string, decisionId: string): Promise<unknown> {
  try {
    return await findRecord(file, decisionId)
  } catch (thrown) {
    throw new UsageError(`${file}: ${unreadable(thrown)}; name audit files with --audit`)
  }
}
