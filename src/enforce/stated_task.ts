// What a request says it is for, held against the lease: `Lease-Task` and `Lease-Session`. Pure.
import { parseTask } from '../broker/names.ts'
import type { Lease, Task } from '../lease/lease.ts'

/** Text as a field value: percent-encoded where it is not plain ASCII. */
export function fieldValue(text: string): string {
  return /^[\x21-\x24\x26-\x7e]*$/.test(text) ? text : encodeURIComponent(text)
}

/** A task as the gate writes it to backends: `jira:SUP-4711`. */
export function taskValue({ system, id }: Pick<Task, 'system' | 'id'>): string {
  return fieldValue(`${system}:${id}`)
}

/**
 * Which of what a request states is not what the lease is for; empty where it states nothing. A task may be
 * written as the gate writes it, or as everywhere else (`SUP-4711` alone: of the system `task`).
 */
export function mismatches(
  stated: { readonly statedTask: string | undefined; readonly statedSession: string | undefined },
  lease: Pick<Lease, 'task' | 'session'>,
): ('task_mismatch' | 'session_mismatch')[] {
  const { statedTask: task, statedSession: session } = stated
  const found: ('task_mismatch' | 'session_mismatch')[] = []
  if (task !== undefined && task !== taskValue(lease.task) && !isSame(parseTask(task), lease.task)) {
    found.push('task_mismatch')
  }
  if (session !== undefined && session !== fieldValue(lease.session)) found.push('session_mismatch')
  return found
}

function isSame(stated: Pick<Task, 'system' | 'id'>, { system, id }: Task): boolean {
  return stated.system === system && stated.id === id
}
