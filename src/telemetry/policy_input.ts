// In: the JSON text of a policy input, and what the configuration lets into a record. Out: the text that is
// recorded, so that the decision can be replayed, and what is missing from it. Never: a token, wherever it
// stands, or a member that the configuration redacts.
import { withoutTokens } from './shown.ts'

/** What may be recorded of policy inputs (`audit.policy_input`). */
export interface PolicyInputRules {
  readonly record: boolean
  /** Paths of members whose value is replaced by null. */
  readonly redact: readonly string[]
  /** Of the recorded text. A larger one is left out whole: half an input decides something else. */
  readonly maxBytes: number
}

/** A policy input as it is recorded. */
export interface RecordedInput {
  /** JSON on one line; undefined when it was left out. */
  readonly text: string | undefined
  /** Paths of the members that are null in the text and were not in the input. */
  readonly redacted: readonly string[]
  /** Why the input was left out. */
  readonly omitted: 'off' | 'too_large' | undefined
}

/** What is recorded of one input. */
export type InputRecorder = (input: string) => RecordedInput

const off: RecordedInput = { text: undefined, redacted: [], omitted: 'off' }
const tooLarge: RecordedInput = { text: undefined, redacted: [], omitted: 'too_large' }

/** The recorder for these rules. Total for what policy/input.ts writes. */
export function inputRecorder({ record, redact, maxBytes }: PolicyInputRules): InputRecorder {
  if (!record) return () => off
  const allContent = redact.length === 2 && redact.includes(body) && redact.includes(query)
  return (input) => {
    const quick = redact.length === 0 ? { text: input, redacted: [] } : allContent && withoutContent(input)
    const { text, redacted } = quick && !quick.text.includes('eyJ') ? quick : blankedIn(input, redact)
    return Buffer.byteLength(text) > maxBytes ? tooLarge : { text, redacted, omitted: undefined }
  }
}

const query = 'request.query'
const body = 'request.body'

/**
 * Redacts query and body of a text of policy/input.ts without parsing it: half a microsecond instead of ten,
 * and no cost that grows with the body. Undefined where the text does not have that form. What a caller
 * sends cannot move the ends: no string holds a bare quote, nothing before the query has an object under that
 * name, and what comes after the body is the gate's own.
 */
export function withoutContent(input: string): Blanked | undefined {
  const start = input.indexOf('},"query":{')
  const end = input.lastIndexOf('},"context":{"now":')
  if (start < 0 || end < start) return undefined
  const content = input.slice(start + 2, end)
  const queryText = content.startsWith('"query":{},"body":') ? '{}' : 'null'
  const bodyText = ['null', '{}'].find((empty) => content.endsWith(`,"body":${empty}`))
  const redacted = [...(bodyText === undefined ? [body] : []), ...(queryText === 'null' ? [query] : [])]
  if (redacted.length === 0) return { text: input, redacted }
  const blanked = `"query":${queryText},"body":${bodyText ?? 'null'}`
  return { text: `${input.slice(0, start + 2)}${blanked}${input.slice(end)}`, redacted }
}

type Blanked = Pick<RecordedInput, 'redacted'> & { readonly text: string }
type Json = Record<string, unknown>

/** The same document with null at each of `paths`, and for each member of a section that holds a token. */
export function blankedIn(input: string, paths: readonly string[]): Blanked {
  const document: unknown = JSON.parse(input)
  const blanked = paths.filter((path) => blank(document, path.split('.')))
  for (const [section, members] of Object.entries(isObject(document) ? document : {})) {
    for (const [name, value] of Object.entries(isObject(members) ? members : {})) {
      if (holdsToken(value) && blank(members, [name])) blanked.push(`${section}.${name}`)
    }
  }
  return { text: JSON.stringify(document), redacted: blanked }
}

/**
 * Puts null at `path`, in each item of a list on the way, and where a name has dots itself (`user.name` of a
 * query) at every reading of it; false where nothing stands there that could give something away.
 */
function blank(value: unknown, path: readonly string[]): boolean {
  if (Array.isArray(value)) return value.filter((item) => blank(item, path)).length > 0
  if (!isObject(value)) return false
  const ends = path.map((_, at) => at + 1).filter((end) => Object.hasOwn(value, nameOf(path, end)))
  return ends.filter((end) => blankMember(value, nameOf(path, end), path.slice(end))).length > 0
}

function blankMember(value: Json, name: string, rest: readonly string[]): boolean {
  const inner = value[name]
  if (rest.length > 0) return blank(inner, rest)
  if (inner === null || (isObject(inner) && Object.keys(inner).length === 0)) return false
  value[name] = null
  return true
}

function nameOf(path: readonly string[], end: number): string {
  return path.slice(0, end).join('.')
}

function holdsToken(value: unknown): boolean {
  if (typeof value === 'string') return withoutTokens(value) !== value
  if (Array.isArray(value)) return value.some(holdsToken)
  return isObject(value) && Object.entries(value).some((entry) => entry.some(holdsToken))
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
