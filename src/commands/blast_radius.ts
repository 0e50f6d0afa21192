// `leasegate blast-radius`: which agents could do how much harm before somebody ends it, and what would make it
// less. Reads the state store; changes nothing.
import type { Command } from 'commander'
import { type AgentRadius, agentRadii, type RadiusSearch } from '../broker/blast_search.ts'
import { radiusView } from '../broker/lease_view.ts'
import { surroundings } from '../config/blast_radius.ts'
import { agentName } from '../lease/lease.ts'
import { operationsText, pointsText, reduction } from './lease/radius_text.ts'
import { withStore } from './lease/with_store.ts'
import { loadStateConfig } from './state_config.ts'
import { count, duration, say, sayJson, style, UsageError } from './terminal.ts'

interface Options {
  readonly config: string
  readonly agent?: string
  readonly limit: string
  readonly json?: boolean
}

/** Adds `blast-radius`. */
export function addBlastRadiusCommand(program: Command): void {
  program
    .command('blast-radius')
    .description('what each agent could do with its leases before somebody ends them, and what narrows it')
    .option('--agent <agent>', 'this one only')
    .option('--limit <n>', 'at most this many agents', '20')
    .option('-c, --config <file>', 'configuration file', 'config.yaml')
    .option('--json', 'for programs')
    .action(show)
}

async function show({ config: file, agent, limit, json }: Options): Promise<void> {
  if (!/^[1-9]\d{0,5}$/.test(limit)) throw new UsageError('--limit is a number of agents')
  const config = loadStateConfig(file)
  const around = surroundings(config, Date.now() / 1000)
  const filter = agent === undefined ? {} : { agent: agentName(agent) }
  const found = await withStore(config, (store) => agentRadii(store, around, filter))
  const agents = found.agents.slice(0, Number(limit))
  if (json === true) sayJson({ truncated: found.truncated, agents: agents.map(asJson) })
  else if (agents.length === 0) say(style.dim('no live leases'))
  else sayTable(agents, found, around.detectionSeconds)
}

function sayTable(agents: readonly AgentRadius[], { truncated }: RadiusSearch, detection: number): void {
  const rows = agents.map(cellsOf)
  const head = ['radius', 'agent', 'leases', 'calls', 'within', 'reaches']
  const widths = head.map((title, at) => Math.max(title.length, ...rows.map((row) => row[at]!.length)))
  const line = (cells: readonly string[]) =>
    cells.map((cell, at) => (at === 0 ? cell.padStart(widths[at]!) : cell.padEnd(widths[at]!))).join('  ')
  say(style.dim(line(head)))
  for (const [at, { radius, narrowings }] of agents.entries()) {
    say(line(rows[at]!))
    for (const { change, points } of narrowings.slice(0, 3)) {
      say(`${' '.repeat(widths[0]!)}  ${style.green(reduction(radius.points, points))}  ${change}`)
    }
  }
  say(
    style.dim(
      `\npoints of harm within ${duration(detection)}, or until the leases end: see docs/blast-radius.md`,
    ),
  )
  if (truncated) say(style.yellow('there are more live leases than were looked at: every figure is too low'))
}

function cellsOf({ agent, leases, radius }: AgentRadius): string[] {
  return [
    pointsText(radius.points),
    agent,
    count(leases, 'lease'),
    radius.calls.toLocaleString('en'),
    duration(radius.windowSeconds),
    operationsText(radius.reach),
  ]
}

function asJson({ agent, leases, radius, narrowings }: AgentRadius) {
  return {
    agent,
    leases,
    ...radiusView(radius),
    narrowings,
  }
}
