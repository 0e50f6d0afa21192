// `leasegate blast-radius`: which agents could do how much harm before somebody ends it, and what would make it
// less. Reads the state store; changes nothing.
import type { Command } from 'commander'
import { type AgentRadius, agentRadii, type RadiusSearch } from '../broker/blast_search.ts'
import { radiusView } from '../broker/lease_view.ts'
import { surroundings } from '../config/blast_radius.ts'
import { agentName } from '../lease/lease.ts'
import { operationsText, pointsExample, pointsText, reduction } from './lease/radius_text.ts'
import { withStore } from './lease/with_store.ts'
import { loadStateConfig } from './state_config.ts'
import { aligned, duration, say, sayJson, style, UsageError } from './terminal.ts'

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
  const [head = '', ...rows] = aligned([heads, ...agents.map(cellsOf)], [0, 2, 3])
  const indent = head.indexOf('agent')
  say(style.dim(head))
  for (const [at, { radius, narrowings }] of agents.entries()) {
    say(rows[at])
    say(`${' '.repeat(indent)}${operationsText(radius.reach)}`)
    const shown = narrowings
      .slice(0, 3)
      .map(({ change, points }) => [reduction(radius.points, points), change])
    for (const line of aligned(shown, [0])) say(`${' '.repeat(indent)}${style.green(line)}`)
  }
  const window = duration(detection)
  const explained = [
    `\nradius: points of harm at most, until leases end or somebody ends them (${window});`,
    pointsExample,
    'how it is counted: docs/blast-radius.md',
  ]
  for (const line of explained) say(style.dim(line))
  if (truncated) say(style.yellow('there are more live leases than were looked at: every figure is too low'))
}

const heads = ['radius', 'agent', 'leases', 'calls', 'within']

function cellsOf({ agent, leases, radius }: AgentRadius): string[] {
  return [
    pointsText(radius.points),
    agent,
    String(leases),
    radius.calls.toLocaleString('en'),
    duration(radius.windowSeconds),
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
