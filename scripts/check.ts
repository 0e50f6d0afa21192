// The whole check, in order, with a line per step: what `npm test` runs and what CI runs. Stops at nothing:
// every step's failure is shown, and the exit code is 1 if any failed.
import { spawnSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

interface Step {
  readonly name: string
  readonly command: readonly [string, ...string[]]
  /** Printed as it comes: for the long ones. */
  readonly loud?: true
  /** Says why the step cannot run on this machine. */
  readonly unless?: () => string | undefined
}

const report = join(tmpdir(), `leasegate-tests-${process.pid}.json`)
const node = process.execPath
const steps: readonly Step[] = [
  { name: 'a real Redis', command: [node, 'scripts/redis.ts'] },
  { name: 'a real Valkey', command: [node, 'scripts/valkey.ts'] },
  { name: 'a real Chromium', command: [node, 'scripts/chromium.ts'] },
  { name: 'format and lint', command: ['biome', 'ci', '--error-on-warnings', '.'] },
  { name: 'types', command: ['tsc', '-p', '.'] },
  { name: 'types as they are published', command: ['tsc', '-p', 'tsconfig.build.json', '--noEmit'] },
  { name: 'types of the console', command: ['tsc', '-p', 'src/console'] },
  { name: 'unused code and dependencies', command: ['knip'] },
  { name: 'policies: format', command: [node, 'src/cli.ts', 'policy', 'fmt', '--check', 'policies'] },
  { name: 'policies: check', command: [node, 'src/cli.ts', 'policy', 'check', 'policies'] },
  { name: 'policies: tests, both engines', command: [node, 'src/cli.ts', 'policy', 'test', 'policies'] },
  {
    name: 'Rego toolchain is what its source builds',
    command: ['sh', 'regoc/build.sh', '--verify'],
    // Its hash is compared by the tests in any case.
    unless: () =>
      hasPinnedGo() ? undefined : 'not rebuilt: the Go version it is pinned to is not to be had here',
    loud: true,
  },
  {
    name: 'unit, integration, properties',
    command: ['vitest', 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`],
    loud: true,
  },
]

let failedSteps = 0
for (const step of steps) {
  const reason = step.unless?.()
  if (reason !== undefined) {
    process.stdout.write(`– ${step.name}: ${reason}\n`)
    continue
  }
  const began = performance.now()
  if (step.loud === true) process.stdout.write(`\n— ${step.name}\n`)
  const [program, ...args] = step.command
  const { status, stdout, stderr } = spawnSync(program, args, {
    stdio: step.loud === true ? 'inherit' : 'pipe',
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  const seconds = ((performance.now() - began) / 1000).toFixed(1)
  const ok = status === 0
  if (!ok) failedSteps++
  process.stdout.write(`${ok ? '✓' : '✗'} ${step.name} ${seconds} s\n`)
  if (!ok) process.stdout.write(`${stdout ?? ''}${stderr ?? ''}`)
}

const { passed, failed } = countTests()
process.stdout.write(`\nsteps: ${steps.length - failedSteps} passed, ${failedSteps} failed\n`)
process.stdout.write(`tests: ${passed} passed, ${failed} failed\n`)
process.exitCode = failedSteps === 0 && failed === 0 && passed > 0 ? 0 : 1

/** Whether `go` is here and is, or can fetch, the version that go.mod names. */
function hasPinnedGo(): boolean {
  const pinned = /^toolchain (go\S+)$/m.exec(readFileSync('regoc/go.mod', 'utf8'))?.[1]
  const { stdout } = spawnSync('go', ['env', 'GOVERSION'], { cwd: 'regoc', encoding: 'utf8' })
  return pinned !== undefined && stdout?.trim() === pinned
}

/** From Vitest's report; a run that left none has passed nothing. */
function countTests(): { passed: number; failed: number } {
  try {
    const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, 'utf8'))
    return { passed: numPassedTests, failed: numFailedTests }
  } catch {
    return { passed: 0, failed: 0 }
  } finally {
    rmSync(report, { force: true })
  }
}
