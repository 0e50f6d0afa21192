// In: parsers of single values. Out: the zod fields that schema.ts is written with, each with a message that
// names the fix. Never: a field that accepts a key nobody declared.
import { z } from 'zod'
import { nearest } from './problems.ts'
import { type Outcome, parseDuration, parseSeconds, parseSize } from './scalars.ts'

/** A mapping with exactly these keys. Unknown ones are reported with the nearest known, one line each. */
export function section<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  const known = Object.keys(shape)
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code !== 'unrecognized_keys') return missing(issue.input) ?? mapping(known)
      return issue.keys.map((key) => unknownKey(key, known)).join('\n')
    },
  })
}

function unknownKey(key: string, known: readonly string[]): string {
  const near = nearest(key, known)
  return near === undefined
    ? `unknown key; known here: ${known.join(', ')}`
    : `unknown key; did you mean ${near}?`
}

/** A long list helps nobody who has left out the whole file. */
function mapping(known: readonly string[]): string {
  return known.length > 8 ? 'write a mapping of keys here' : `write a mapping here, of ${known.join(', ')}`
}

function missing(input: unknown): string | undefined {
  return input === undefined ? 'add this key: it has no default' : undefined
}

/** A string with a meaning. */
export function text<T>(parse: (text: string) => Outcome<T>, example: string) {
  return z
    .string({ error: (issue) => missing(issue.input) ?? `write a string, such as ${example}` })
    .transform((value, context) => {
      const outcome = parse(value)
      if ('value' in outcome) return outcome.value
      context.addIssue({ code: 'custom', message: outcome.fault })
      return z.NEVER
    })
}

/** A duration in milliseconds. */
export function duration(min: string, max: string) {
  return text((value) => parseDuration(value, min, max), '2s')
}

/** A duration in whole seconds. */
export function seconds(min: string, max: string) {
  return text((value) => parseSeconds(value, min, max), '5s')
}

/** A size in bytes. */
export function size(min: string, max: string) {
  return text((value) => parseSize(value, min, max), '1MiB')
}

/** A non-empty path; whether it can be read is checked elsewhere. */
export function filePath() {
  return text((value) => (value === '' ? { fault: 'write a path' } : { value }), './data/file')
}

/** One of a closed list of words. */
export function oneOf<const Word extends string>(words: readonly Word[]) {
  return z.enum(words, { error: (issue) => missing(issue.input) ?? `write one of ${words.join(', ')}` })
}

/** A whole number. */
export function count(min: number, max: number) {
  const fault = `write a whole number from ${min} to ${max}`
  return z
    .int({ error: (issue) => missing(issue.input) ?? fault })
    .min(min, fault)
    .max(max, fault)
}

/** `true` or `false`, unquoted. */
export function flag() {
  return z.boolean({ error: 'write true or false, without quotes' })
}

/** A list. */
export function list<Item extends z.ZodType>(item: Item) {
  return z.array(item, { error: (issue) => missing(issue.input) ?? 'write a list: [one, two]' })
}
