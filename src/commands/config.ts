// `leasegate config check`: everything wrong with a configuration file, at once.
import { loadConfig } from '../config/load.ts'
import { ConfigError } from '../config/problems.ts'
import { count, say, sayJson, style } from './terminal.ts'

/** Exit code 0: the file would start; 2: it would not, and every problem is listed. */
export function checkConfig(file: string, options: { json?: boolean }): void {
  try {
    const config = loadConfig(file)
    const operations = config.backends.reduce((sum, backend) => sum + backend.operations.length, 0)
    if (options.json === true) sayJson({ ok: true, problems: [] })
    else
      say(
        `${style.green('ok')} ${file}: ${count(config.backends.length, 'backend')}, ${count(operations, 'operation')}`,
      )
  } catch (error) {
    if (!(error instanceof ConfigError) || options.json !== true) throw error
    sayJson({ ok: false, problems: error.problems })
    process.exitCode = 2
  }
}
