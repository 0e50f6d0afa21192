// What text from a token may look like before it becomes a name in logs, headers and policy. Pure.

// Controls (CR and LF among them), bidi and other invisible format characters, line separators.
const invisible = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

/**
 * Whether a value is text that names one thing and looks like it: 1 to `limit` UTF-16 units, no control or
 * invisible character, no space at either end, in Unicode form NFC, so that two spellings of one name
 * cannot pass for two names (and escape a revocation) or two names for one.
 */
export function isPlainText(value: unknown, limit = 256): value is string {
  return (
    typeof value === 'string' &&
    value.length > 0 &&
    value.length <= limit &&
    !invisible.test(value) &&
    value.trim() === value &&
    value.isWellFormed() &&
    value.normalize('NFC') === value
  )
}

/** Whether a value is a JSON object: neither null nor an array. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A member of an object's own, never of its prototype. */
export function own(object: Record<string, unknown>, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined
}

/**
 * The member at the dotted path. A URL (`https://example.com/lease`) is the name of one claim. Never both
 * ways: a claim that is literally called `act.sub` does not stand in for `sub` of `act`.
 */
export function at(claims: Record<string, unknown>, path: string): unknown {
  let value: unknown = claims
  for (const name of path.includes('://') ? [path] : path.split('.'))
    value = isObject(value) ? own(value, name) : undefined
  return value
}
