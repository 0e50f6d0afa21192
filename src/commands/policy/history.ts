// `leasegate policy history`: which policy was made active when, by whom and why, and what waits to be.
import { type Command, InvalidArgumentError } from 'commander'
import type { Activation, PublishedSet } from '../../ports.ts'
import { loadStateConfig } from '../state_config.ts'
import { say, sayJson, snaked, style } from '../terminal.ts'
import { shown } from './excerpt.ts'
import { shortDigest, wholeHistory, withSets } from './rollout.ts'

interface HistoryOptions {
  readonly config: string
  readonly limit: number
  readonly json?: boolean
}

/** Adds `policy history`. */
export function addHistoryCommand(policy: Command): void {
  policy
    .command('history')
    .description('which policy was made active when, by whom and why; newest first')
    .option('--limit <number>', 'at most this many', wholeNumber, 20)
    .option('-c, --config <file>', 'configuration file', 'config.yaml')
    .option('--json', 'for programs')
    .action(run)
}

function wholeNumber(text: string): number {
  if (!/^[1-9][0-9]{0,5}$/.test(text))
    throw new InvalidArgumentError('Write a whole number from 1 to 999999.')
  return Number(text)
}

async function run({ config, limit, json }: HistoryOptions): Promise<void> {
  const { whole, published } = await withSets(loadStateConfig(config), async (sets) => ({
    whole: await wholeHistory(sets),
    published: await sets.list(),
  }))
  const history = whole.slice(0, limit)
  const waiting = published.filter(({ digest }) => whole.every((each) => each.digest !== digest))
  if (json === true) return sayJson(snaked({ active: whole[0] ?? null, history, published }))
  if (whole.length === 0) say(style.dim('nothing has been activated'))
  for (const activation of history) sayActivation(activation, activation === whole[0])
  if (waiting.length > 0) say('published, never active:')
  for (const set of waiting) sayPublished(set)
}

function sayActivation({ number, digest, kind, by, at, reason }: Activation, isActive: boolean): void {
  const mark = isActive ? style.green('active') : '      '
  // As JSON: what somebody wrote cannot pass for a line of its own.
  const why = reason === '' ? '' : `  ${shown(JSON.stringify(reason))}`
  say(
    `${mark} ${String(number).padStart(4)}  ${shortDigest(digest)}  ${time(at)}  ${kind.padEnd(8)}  ${shown(by)}${why}`,
  )
}

function sayPublished({ digest, publishedAt, by }: PublishedSet): void {
  say(`             ${shortDigest(digest)}  ${time(publishedAt)}  ${shown(by)}`)
}

function time(seconds: number): string {
  return new Date(Math.floor(seconds) * 1000).toISOString().replace('.000', '')
}
