// In: JSON as bytes or text, from anybody. Out: its value, or one word for why two parsers could read it
// differently. `JSON.parse` decides the grammar and makes the value; the scan beside it only refuses.
// Never repairs, never throws on bad input, never puts any of the input into its answer.

/** Why a text was refused. Fixed words: safe in logs and in answers. */
export type JsonProblem =
  | 'too_large'
  | 'not_utf8'
  | 'byte_order_mark'
  | 'syntax'
  | 'too_deep'
  | 'duplicate_key'
  | 'case_variant_key'
  | 'forbidden_key'
  | 'number_out_of_range'
  | 'lone_surrogate'

export interface StrictJsonOptions {
  /** Bytes of UTF-8, inclusive. */
  readonly maxBytes: number
  /** Arrays and objects within one another; a bare scalar has depth 0. Default 32. */
  readonly maxDepth?: number
  /** Also refuse siblings that differ in case only, which some readers bind to one field. Default false. */
  readonly refuseCaseVariants?: boolean
}

export type StrictJson =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly problem: JsonProblem }

// `ignoreBOM` keeps the mark in the text, so that it can be refused instead of swallowed.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

// Assigning through these reaches a prototype in code that copies objects key by key.
const forbiddenKeys: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

/**
 * Parses JSON (RFC 8259) that every conforming reader understands alike (I-JSON, RFC 7493). Refuses, in
 * this order: size, invalid UTF-8, a byte order mark, lone surrogates, grammar; then, whichever comes first
 * in the text: depth, duplicate keys (compared after unescaping), `__proto__`, `constructor` and `prototype`
 * as keys, numbers beyond ±(2^53 - 1), escaped lone surrogates. `-0` is a number like any other.
 */
export function parseStrictJson(input: string | Uint8Array, options: StrictJsonOptions): StrictJson {
  const size = typeof input === 'string' ? Buffer.byteLength(input) : input.byteLength
  if (size > options.maxBytes) return refused('too_large')
  let text: string
  try {
    text = typeof input === 'string' ? input : utf8.decode(input)
  } catch {
    return refused('not_utf8')
  }
  if (text.charCodeAt(0) === 0xfeff) return refused('byte_order_mark')
  if (!text.isWellFormed()) return refused('lone_surrogate')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return refused('syntax')
  }
  const problem = scan(text, options.maxDepth ?? 32, options.refuseCaseVariants ?? false)
  return problem === undefined ? { ok: true, value } : refused(problem)
}

function refused(problem: JsonProblem): StrictJson {
  return { ok: false, problem }
}

const quote = 0x22
const comma = 0x2c
const minus = 0x2d
const zero = 0x30
const nine = 0x39
const openArray = 0x5b
const backslash = 0x5c
const closeArray = 0x5d
const openObject = 0x7b
const closeObject = 0x7d

/** Walks a text that is known to be valid JSON, one token at a time. */
function scan(text: string, maxDepth: number, caseVariants: boolean): JsonProblem | undefined {
  // Keys seen in each open object, undefined for an open array; the last one is the innermost.
  const open: (Set<string> | undefined)[] = []
  let keyNext = false
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === quote) {
      const end = stringEnd(text, at)
      const problem = stringProblem(text, at, end, keyNext ? open.at(-1) : undefined, caseVariants)
      if (problem !== undefined) return problem
      keyNext = false
      at = end
    } else if (code === openObject || code === openArray) {
      if (open.length === maxDepth) return 'too_deep'
      open.push(code === openObject ? new Set() : undefined)
      keyNext = code === openObject
    } else if (code === closeObject || code === closeArray) {
      open.pop()
      keyNext = false
    } else if (code === comma) {
      keyNext = open.at(-1) !== undefined
    } else if (code === minus || (code >= zero && code <= nine)) {
      const end = numberEnd(text, at)
      if (!numberFits(text, at, end)) return 'number_out_of_range'
      at = end - 1
    }
  }
  return undefined
}

/** Index of the closing quote of the string that opens at `start`. */
function stringEnd(text: string, start: number): number {
  let at = start + 1
  for (let code = text.charCodeAt(at); code !== quote; code = text.charCodeAt(at)) {
    at += code === backslash ? 2 : 1
  }
  return at
}

/** Checks one string; it is a key when the keys of its object are given, and is added to them. */
function stringProblem(
  text: string,
  start: number,
  end: number,
  keys: Set<string> | undefined,
  caseVariants: boolean,
): JsonProblem | undefined {
  const raw = text.slice(start + 1, end)
  const escaped = raw.includes('\\')
  if (!escaped && keys === undefined) return undefined
  const string = escaped ? String(JSON.parse(`"${raw}"`)) : raw
  if (escaped && !string.isWellFormed()) return 'lone_surrogate'
  if (keys === undefined) return undefined
  if (forbiddenKeys.has(string)) return 'forbidden_key'
  if (keys.has(string)) return 'duplicate_key'
  keys.add(string)
  return caseVariants ? caseVariantProblem(string, keys) : undefined
}

/** Folded keys stand beside the plain ones behind a prefix that no plain key of the scan can have. */
function caseVariantProblem(key: string, keys: Set<string>): JsonProblem | undefined {
  // Upper first: `ſ` and `ı` fold to `s` and `i` only that way; lower then takes the Kelvin sign to `k`.
  const folded = `\ud800${key.toUpperCase().toLowerCase()}`
  if (keys.has(folded)) return 'case_variant_key'
  keys.add(folded)
  return undefined
}

/** Index after the number that starts at `start`. */
function numberEnd(text: string, start: number): number {
  let at = start + 1
  while (at < text.length && '0123456789+-.eE'.includes(text.charAt(at))) at++
  return at
}

/** Beyond 2^53 a double no longer holds every integer, and beyond 1.8e308 it is infinite. */
function numberFits(text: string, start: number, end: number): boolean {
  return Math.abs(Number(text.slice(start, end))) <= Number.MAX_SAFE_INTEGER
}
