// `leasegate keys rotate|list`: the broker's signing keys. Running gates and brokers follow the file by
// themselves. Never prints key material.
import type { Command } from 'commander'
import { readKeyFile } from '../lease/key_file.ts'
import { type KeySet, publishedAheadSeconds, roleOf, type StoredKey } from '../lease/key_set.ts'
import { noticeSeconds, rotateKeys } from '../lease/signing_keys.ts'
import { loadStateConfig } from './state_config.ts'
import { duration, sayFacts, sayJson, style, UsageError } from './terminal.ts'

/** Adds the key commands. */
export function addKeysCommands(program: Command): void {
  const keys = program.command('keys').description("the broker's signing keys")
  keys
    .command('rotate')
    .description('make a new signing key; it is published first and signs some minutes later')
    .option('--now', `let it sign in ${noticeSeconds} s: gates that read the keys by URL may take longer`)
    .option('--compromised', 'let it sign at once and refuse everything that other keys have signed')
    .option('-c, --config <file>', 'configuration file', 'config.yaml')
    .option('--json', 'for programs')
    .action(rotate)
  keys
    .command('list')
    .description('which key signs, which is next, which are still published')
    .option('-c, --config <file>', 'configuration file', 'config.yaml')
    .option('--json', 'for programs')
    .action(list)
}

interface ListOptions {
  readonly config: string
  readonly json?: boolean
}

interface RotateOptions extends ListOptions {
  readonly now?: boolean
  readonly compromised?: boolean
}

async function rotate(options: RotateOptions): Promise<void> {
  if (options.now === true && options.compromised === true) {
    throw new UsageError('--compromised signs at once: leave --now out')
  }
  const { keyFile } = loadStateConfig(options.config).broker
  const rotation =
    options.compromised === true
      ? ({ aheadSeconds: 0, withdraw: true } as const)
      : { aheadSeconds: options.now === true ? noticeSeconds : publishedAheadSeconds }
  const now = Date.now() / 1000
  const keys = await rotateKeys(keyFile, rotation, now)
  if (keys === undefined) throw new Error('a new key waits to sign already: leasegate keys list')
  tell(keys, now, options)
}

async function list(options: ListOptions): Promise<void> {
  const { keyFile } = loadStateConfig(options.config).broker
  const found = await readKeyFile(keyFile)
  if (found === undefined) throw new Error(`${keyFile}: there is no key file yet; the broker makes it`)
  tell(found.keys, Date.now() / 1000, options)
}

function tell(keys: KeySet, now: number, { json }: ListOptions): void {
  const shown = keys.filter((key) => roleOf(key, keys, now) !== 'over')
  if (json === true) {
    sayJson(shown.map((key) => publicFacts(key, keys, now)))
    return
  }
  sayFacts(shown.map((key) => [key.kid, describe(key, keys, now)] as const))
}

/** Everything about a key but the key. */
function publicFacts(key: StoredKey, keys: KeySet, now: number) {
  const { kid, created, signs_from, retires } = key
  return { kid, state: roleOf(key, keys, now), created, signs_from, retires }
}

function describe(key: StoredKey, keys: KeySet, now: number): string {
  const made = `made ${new Date(key.created * 1000).toISOString().slice(0, 10)}`
  switch (roleOf(key, keys, now)) {
    case 'signs':
      return `${style.green('signs')}, ${made}`
    case 'next':
      return `${style.cyan('next')}, signs in ${duration(key.signs_from - now)}`
    default:
      return style.dim(`retired, published for ${duration((key.retires ?? now) - now)}`)
  }
}
