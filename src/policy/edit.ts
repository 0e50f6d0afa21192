// One change to a policy input or to policy data, as a value: what it changes, how it is applied, what it is
// called. Pure; never changes the document it is given.
import type { Path } from './trace.ts'

/** A change at one place. `append` adds `value` to a list; `set` replaces, or adds a member. */
export interface Edit {
  readonly op: 'set' | 'append'
  /** Starts with `input` or `data`. */
  readonly path: Path
  readonly value: unknown
}

/** The value at the end of a path, without its root. Own members only. */
export function valueAt(root: unknown, path: Path): { readonly defined: boolean; readonly value: unknown } {
  let value = root
  for (const key of path) {
    if (typeof value !== 'object' || value === null || typeof key === 'boolean' || key === null) return absent
    if (!Object.hasOwn(value, key)) return absent
    value = Reflect.get(value, key)
  }
  return { defined: true, value }
}

const absent = { defined: false, value: undefined } as const

/** A copy of `root`, the document named by the first step of the paths, with the edits in it. */
export function applyEdits(root: unknown, edits: readonly Edit[]): unknown {
  return edits.reduce((document, { op, path, value }) => apply(document, path.slice(1), op, value), root)
}

function apply(at: unknown, [key, ...rest]: Path, op: Edit['op'], value: unknown): unknown {
  if (key === undefined) return op === 'append' && Array.isArray(at) ? [...at, value] : value
  if (Array.isArray(at)) return at.map((item, index) => (index === key ? apply(item, rest, op, value) : item))
  // A computed member and a spread define: `__proto__` stays a name like any other.
  const members = isTree(at) ? at : {}
  const member = valueAt(members, [key]).value
  return { ...members, [String(key)]: apply(member, rest, op, value) }
}

/** Whether one of two edits lies within what the other replaces, or both are at one place. */
export function collide(a: Edit, b: Edit): boolean {
  const shared = a.path.every((key, at) => at >= b.path.length || key === b.path[at])
  if (!shared) return false
  return a.path.length !== b.path.length || !(a.op === 'append' && b.op === 'append')
}

/** `data.profiles["support-trial"].backends.crm.verbs`: a path as Rego writes it. */
export function pathName([root, ...steps]: Path): string {
  const written = steps.map((key) =>
    typeof key === 'string' && /^[A-Za-z_][A-Za-z0-9_]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`,
  )
  return `${root}${written.join('')}`
}

/** Whether a value is a JSON object. */
export function isTree(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
