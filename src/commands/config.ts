// `leasegate config check`: everything wrong with a configuration file, at once.
import type { Command } from 'commander'
import { parseAgents, readAgentFiles } from '../config/agent_files.ts'
import { workloadIssuers } from '../config/broker.ts'
import { loadConfig } from '../config/load.ts'
import { ConfigError } from '../config/problems.ts'
import { failOverRisk } from '../config/redis.ts'
import type { Config } from '../config.ts'
import { count, say, sayJson, style } from './terminal.ts'

/** Adds `config check`. */
export function addConfigCommands(program: Command): void {
  program
    .command('config')
    .description('look at a configuration file')
    .command('check')
    .description('list everything wrong with a configuration file')
    .argument('[file]', 'configuration file', 'config.yaml')
    .option('--json', 'for programs')
    .action(checkConfig)
}

/** Exit code 0: the file would start; 2: it would not, and every problem is listed. */
async function checkConfig(file: string, options: { json?: boolean }): Promise<void> {
  try {
    const config = loadConfig(file)
    const agents = await checkAgents(config)
    const operations = config.backends.reduce((sum, backend) => sum + backend.operations.length, 0)
    const warnings = warningsOf(config)
    if (options.json === true) return sayJson({ ok: true, problems: [], warnings })
    say(
      `${style.green('ok')} ${file}: ${count(config.backends.length, 'backend')}, ${count(operations, 'operation')}${agents}`,
    )
    for (const warning of warnings) say(`${style.yellow('warning')} ${warning}`)
  } catch (error) {
    if (!(error instanceof ConfigError) || options.json !== true) throw error
    sayJson({ ok: false, problems: error.problems })
    process.exitCode = 2
  }
}

/** What the file may say, and hardly anybody means. */
function warningsOf({ state }: Config): string[] {
  const risk = state.store === 'redis' ? failOverRisk(state.redis) : undefined
  return risk === undefined ? [] : [risk]
}

/** `, 2 agents` where the broker has a directory of them. Throws `ConfigError`. */
async function checkAgents(config: Config): Promise<string> {
  const { agents: dir } = config.broker
  if (dir === undefined) return ''
  const rules = { workloadIssuers: workloadIssuers(config) }
  return `, ${count(parseAgents(await readAgentFiles(dir), rules).all().length, 'agent')}`
}
