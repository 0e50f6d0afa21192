// The configuration as most commands need it. In: a file. Out: what it says, without the secrets of backends.
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config.ts'

/** The configuration for a command that works on the state store only and forwards nothing. */
export function loadStateConfig(file: string): Config {
  return loadConfig(file, process.env, { credentials: 'unused' })
}
