// In: configuration values with `${env:NAME}` and `${file:PATH}` in them. Out: the same values resolved.
// Never: a resolved secret in a problem, in `util.inspect` or in JSON.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { inspect } from 'node:util'
import type { ConfigPath } from './problems.ts'

/** Where references are resolved, and where problems go. */
export interface ReferenceScope {
  /** Relative `${file:…}` paths start here. */
  readonly dir: string
  readonly env: Readonly<Record<string, string | undefined>>
  report(path: ConfigPath, message: string): void
}

/**
 * Resolves the references in every string of `value`, once: what a secret contains is never expanded again.
 * A reference that cannot be resolved, or resolves to nothing, is reported and left as it stands.
 */
export function resolveReferences(value: unknown, scope: ReferenceScope, path: ConfigPath = []): unknown {
  if (typeof value === 'string') return resolveText(value, scope, path)
  if (Array.isArray(value))
    return value.map((item, index) => resolveReferences(item, scope, [...path, index]))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, resolveReferences(item, scope, [...path, key])]),
  )
}

function resolveText(text: string, scope: ReferenceScope, path: ConfigPath): string {
  return text.replace(/\$\{([^}]*\}?)/g, (whole, inner: string) => {
    const found = lookUp(inner, scope)
    if ('text' in found) return found.text
    scope.report(path, found.fault)
    return whole
  })
}

function lookUp(inner: string, { dir, env }: ReferenceScope): { text: string } | { fault: string } {
  const [, kind, name] = /^(env|file):([^}]+)\}$/.exec(inner) ?? []
  if (kind === undefined || name === undefined) {
    return { fault: `write a reference as \${env:NAME} or \${file:PATH}` }
  }
  if (kind === 'env') {
    const text = env[name]
    if (text === undefined) return { fault: `set the environment variable ${name}: it is missing` }
    if (text === '') return { fault: `set the environment variable ${name}: it is empty` }
    return { text }
  }
  try {
    // Editors and `echo` end a file with a newline that is not part of the secret.
    const text = readFileSync(resolve(dir, name), 'utf8').replace(/\r?\n$/, '')
    return text === '' ? { fault: `put the value into ${name}: the file is empty` } : { text }
  } catch (error) {
    return { fault: `make ${name} readable: ${errorCode(error)}` }
  }
}

/** The `code` of a Node error (`ENOENT`, …), which names no contents; else a plain word. */
export function errorCode(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : 'not readable'
}

/**
 * Makes `record[key]` print as `[redacted]` in `util.inspect`, logs and JSON, for those of `keys` that are there,
 * while code still reads them. They are no longer enumerable, so a spread copy loses a secret instead of exposing it.
 */
export function hideSecrets<T extends object>(record: T, keys: readonly string[]): T {
  const hidden = keys.filter((key) => Object.hasOwn(record, key))
  const redacted = Object.fromEntries(hidden.map((key) => [key, '[redacted]']))
  const shown = () => ({ ...record, ...redacted })
  for (const key of hidden) Object.defineProperty(record, key, { enumerable: false })
  Object.defineProperty(record, 'toJSON', { value: shown })
  Object.defineProperty(record, inspect.custom, { value: shown })
  return record
}

/** The same for one key. */
export function hideSecret<T extends object>(record: T, key: keyof T & string): T {
  return hideSecrets(record, [key])
}
