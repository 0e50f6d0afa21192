// In: an edit and what it is made to. Out: one line that a person can act on. Pure.
import { type Edit, pathName, valueAt } from './edit.ts'
import type { PolicyInput } from './input_schema.ts'
import { anybodyElse } from './lease_candidates.ts'
import type { Tree } from './sources.ts'

/** What an edit is made to, and where its parts are kept. */
export interface Edited {
  readonly input: PolicyInput
  readonly data: Tree
  /** The file to open for a path that starts with `data`. */
  readonly fileOf: (path: Edit['path']) => string
}

type Granted = PolicyInput['lease']['granted'][number]

/** `lease: stage "execute" instead of "observe"`, `data: add "delete" to data.…verbs (policies/data/profiles.json)`. */
export function editText(edit: Edit, edited: Edited): string {
  const { path, value } = edit
  if (path[0] === 'data') return dataText(edit, edited)
  const below = path.slice(1).join('.')
  if (below.startsWith('lease.granted')) return grantText(edit, edited.input)
  if (below === 'context.provenance') {
    return "request: trusted provenance, said by the agent's runtime in Lease-Provenance"
  }
  if (below === 'context.approval') return approvalText(value, edited.input)
  const now = valueAt(edited.input, path.slice(1)).value
  return `lease: ${path.slice(2).join('.')} ${JSON.stringify(value)} instead of ${JSON.stringify(now)}`
}

function grantText({ op, path, value }: Edit, { lease }: PolicyInput): string {
  const [, , , at, member] = path
  const grant = lease.granted[Number(at)]
  if (grant === undefined || member === undefined) return `lease: also grant '${written(value as Granted)}'`
  const shown = `grant ${Number(at) + 1} ('${written(grant)}')`
  return op === 'append'
    ? `lease: add ${JSON.stringify(value)} to the verbs of ${shown}`
    : `lease: raise ${shown} to ${String(value)}`
}

/** As `lease issue --allow` takes it. */
function written({ actions, resource, sensitivity }: Granted): string {
  return `${actions.join(',')} ${resource} ${sensitivity}`
}

function approvalText(value: unknown, input: PolicyInput): string {
  const people = (value as { approved_by: string[] }).approved_by
  const who = people.map((person) =>
    person === anybodyElse(input) ? `somebody other than ${input.lease.user}` : person,
  )
  return `approval: of exactly this request by ${who.join(' and ')}`
}

function dataText({ op, path, value }: Edit, { data, fileOf }: Edited): string {
  const file = `(${fileOf(path)})`
  const now = valueAt(data, path.slice(1))
  const shown = JSON.stringify(value)
  if (op === 'append') return `data: add ${shown} to ${pathName(path)} ${file}`
  if (!now.defined) return `data: add ${pathName(path)} = ${shown} ${file}`
  return `data: ${pathName(path)} = ${shown} instead of ${JSON.stringify(now.value)} ${file}`
}
