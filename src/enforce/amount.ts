// How much a request moves, for `max_amount`. In: the request and the body that was read. Out: an exact number,
// or why there is none that every reader of the request would find. Pure; never rounds, never guesses.
import { parseAmount } from '../lease/amount.ts'
import { isObject, own } from '../lease/text.ts'
import type { AmountSource } from './operation.ts'
import type { Mapped } from './stages.ts'
import { lenientName } from './target.ts'

/** Millionths, or one sentence for the caller about what is wrong. */
export type ReadAmount = { readonly value: bigint } | { readonly problem: string }

/** A number of JSON as it was written: parsers agree on the text, not on what becomes of it. */
class Literal {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })
const syntax = 'a decimal without sign or exponent, of at most 12 digits before the point and 6 after'

/**
 * The amount of a request to an operation that has one. `body` is the JSON that `readInspected` has accepted, so that
 * names are there once and in one spelling.
 */
export function readAmount(
  source: AmountSource,
  { query }: Pick<Mapped, 'query'>,
  body: Uint8Array | undefined,
): ReadAmount {
  const where =
    source.from === 'body' ? `${source.path.join('.')} of the body` : `${source.name} of the query`
  if (standsElsewhere(source, query, body)) return { problem: `${where} may not stand elsewhere as well` }
  const found = source.from === 'body' ? findInBody(source.path, body) : own(query, source.name)
  if (found === undefined)
    return { problem: `${where} has to be there: it is the amount that the lease limits` }
  const value = readValue(found)
  return value === undefined ? { problem: `${where} is no amount: write ${syntax}` } : { value }
}

/**
 * Text, or a number of at most 15 significant digits: readers that make a double of it and readers that keep its
 * digits have the same number then (IEEE 754 binary64 keeps 15).
 */
function readValue(found: unknown): bigint | undefined {
  if (typeof found === 'string') return parseAmount(found)
  if (!(found instanceof Literal)) return undefined
  const digits = found.text.replace('.', '').replace(/^0+/, '')
  return digits.length <= 15 ? parseAmount(found.text) : undefined
}

/** The value at `path`; undefined: it is not there, or something on the way is no object. */
function findInBody(path: readonly string[], body: Uint8Array | undefined): unknown {
  if (body === undefined) return undefined
  let value = parse(body)
  for (const name of path) {
    if (!isObject(value) || value instanceof Literal) return undefined
    value = own(value, name)
  }
  return value
}

/** Frameworks that make one list of query and body would take the other one for the amount. */
function standsElsewhere(
  source: AmountSource,
  query: Mapped['query'],
  body: Uint8Array | undefined,
): boolean {
  const name = lenientName(source.from === 'body' ? source.path[0]! : source.name)
  const others = source.from === 'body' ? query : body === undefined ? {} : parse(body)
  return isObject(others) && Object.keys(others).some((other) => lenientName(other) === name)
}

function parse(body: Uint8Array): unknown {
  return JSON.parse(utf8.decode(body), keepLiteral)
}

function keepLiteral(_name: string, value: unknown, context?: { readonly source?: string }): unknown {
  return typeof value === 'number' ? new Literal(context?.source ?? '') : value
}
