// In: a configuration, to be handed to another process of the same gate. Out: plain data that structured clone
// carries, and the configuration again, frozen. Never: loses what is hidden from logs, or shows it there again.
import type { Config } from '../config.ts'
import { hideSecret } from './references.ts'

/** What `packConfig` made. It holds the secrets of the configuration in the clear: send it, never log it. */
export interface PackedConfig {
  readonly packed: unknown
}

interface PackedRecord {
  readonly fields: Readonly<Record<string, unknown>>
  /** Names of fields that `hideSecret` hid. */
  readonly hidden: readonly string[]
}

/** Packs a configuration. Structured clone alone would drop what `hideSecret` hid. */
export function packConfig(config: Config): PackedConfig {
  return { packed: pack(config) }
}

/** The configuration again, as `loadConfig` gave it. */
export function unpackConfig({ packed }: PackedConfig): Config {
  return unpack(packed) as Config
}

function pack(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(pack)
  if (!isPlain(value)) return value
  const shown = new Set(Object.keys(value))
  const named = Object.getOwnPropertyNames(value)
    .map((name) => [name, Reflect.get(value, name)] as const)
    .filter(([, item]) => typeof item !== 'function')
  return {
    fields: Object.fromEntries(named.map(([name, item]) => [name, pack(item)])),
    hidden: named.map(([name]) => name).filter((name) => !shown.has(name)),
  } satisfies PackedRecord
}

function unpack(value: unknown): unknown {
  if (Array.isArray(value)) return Object.freeze(value.map(unpack))
  if (!isPlain(value)) return value
  const { fields, hidden } = value as object as PackedRecord
  const record: Record<string, unknown> = {}
  for (const [name, item] of Object.entries(fields)) record[name] = unpack(item)
  for (const name of hidden) hideSecret(record, name)
  return Object.freeze(record)
}

function isPlain(value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}
