// How people write agents and tasks on a command line or in a request, and what they are called in leases.
// Pure. The same spelling names the same thing when issuing and when revoking.
import { agentName } from '../lease/lease.ts'

/** `support-triage@3.2.1` → id `agent:support-triage`, version `3.2.1`. A name with a colon stays as it is. */
export function parseAgent(text: string): { readonly id: string; readonly version: string | undefined } {
  const at = text.lastIndexOf('@')
  const name = at > 0 ? text.slice(0, at) : text
  const version = at > 0 ? text.slice(at + 1) : undefined
  return { id: agentName(name), version }
}

/** `jira:SUP-4711` → system `jira`; a bare `SUP-4711` belongs to the system `task`. */
export function parseTask(text: string): { readonly system: string; readonly id: string } {
  const colon = text.indexOf(':')
  return colon < 0
    ? { system: 'task', id: text }
    : { system: text.slice(0, colon), id: text.slice(colon + 1) }
}
