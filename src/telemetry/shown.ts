// In: a target or a name from a request. Out: what of it may stand in a record, a line or a log.
// Never: a query value, a URL's user or password, or a token, in whatever part of the target it was sent.

/**
 * A JWT wherever it stands, its dots percent-encoded or not: every one starts with the base64url of `{"`. And the
 * code of a request that waits for a human.
 */
const token = /\beyJ[\w-]+(?:(?:\.|%2e)[\w-]*)+|\bdfr_[\w-]+/gi

/** `text` with `[redacted]` for each token in it. */
export function withoutTokens(text: string): string {
  return text.includes('eyJ') || text.includes('dfr_') ? text.replace(token, '[redacted]') : text
}

/** The path of a target, which must start with one: an authority before it could hold a password. */
export function pathOf(target: string): string | undefined {
  const end = target.search(/[?#]/)
  const path = end < 0 ? target : target.slice(0, end)
  return path.startsWith('/') || path === '*' ? withoutTokens(path) : undefined
}

/** Parameter names. What has no `=`, or is not a plain name, may be a value and is written as `?`. */
export function queryNames(target: string): readonly string[] {
  const start = target.indexOf('?')
  if (start < 0) return noNames
  return target
    .slice(start + 1)
    .split('&')
    .map((pair) => /^([\w.~[\]-]{1,64})=/.exec(pair)?.[1] ?? '?')
}

const noNames: readonly string[] = []
