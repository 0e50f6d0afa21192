// Faults of the embedded store: two gate processes on one SQLite file.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, renameSync, rmSync, statfsSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type GatePlace, maxStaleness, maxStalenessMs } from '../deployment.ts'
import { type Fault, NotHere, type Site } from '../fault.ts'

const longMs = maxStalenessMs + 1500

interface FileSite extends Site {
  readonly dir: string
}

async function fileSite(): Promise<FileSite> {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-fault-file-'))
  const place: GatePlace = { state: { path: join(dir, 'state.db'), max_staleness: maxStaleness } }
  return {
    dir,
    places: [place, place],
    anew: place,
    close: async () => rmSync(dir, { recursive: true, force: true }),
  }
}

/** The same on a disk of 8 MiB of its own. */
async function smallDiskSite(): Promise<FileSite> {
  const site = await fileSite()
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', site.dir])
  if (mounted.status !== 0) {
    await site.close()
    throw new NotHere('a small disk needs root')
  }
  return {
    ...site,
    async close() {
      spawnSync('umount', ['--lazy', site.dir])
      await site.close()
    },
  }
}

/** Moves the state file with its log away, or back. */
function move(from: string, to: string): void {
  mkdirSync(to, { recursive: true })
  for (const suffix of ['', '-wal', '-shm'])
    renameSync(join(from, `state.db${suffix}`), join(to, `state.db${suffix}`))
}

export const embeddedFaults: readonly Fault<FileSite>[] = [
  {
    name: 'file-gate-killed',
    what: 'kill -9 of one gate and restart, while both revoke',
    short: true,
    open: fileSite,
    async inflict(deployment) {
      const [killed, other] = deployment.gates
      await killed!.kill()
      deployment.revokeThrough(other!)
      await deployment.moreRevocations(15)
      await killed!.start()
      deployment.revokeThrough(...deployment.gates)
    },
  },
  {
    name: 'file-gates-killed',
    what: 'kill -9 of both gates at once and restart: only the file knows what was revoked',
    open: fileSite,
    async inflict({ gates }) {
      await Promise.all(gates.map((gate) => gate.kill()))
      await Promise.all(gates.map((gate) => gate.start()))
    },
  },
  {
    name: 'file-gate-frozen',
    what: 'SIGSTOP of one gate for longer than the bound: it wakes up with an old view',
    open: fileSite,
    async inflict(deployment) {
      const [frozen, other] = deployment.gates
      deployment.revokeThrough(other!)
      frozen!.signal('SIGSTOP')
      await deployment.moreRevocations(15)
      await sleep(longMs)
      frozen!.signal('SIGCONT')
      deployment.revokeThrough(...deployment.gates)
    },
  },
  {
    name: 'file-clock-steps',
    what: 'the wall clock of one gate jumps 90 s ahead, then 90 s behind, then back',
    open: fileSite,
    async inflict(deployment) {
      for (let step = 0; step < 3; step++) {
        deployment.gates[0]!.signal('SIGUSR2')
        await deployment.moreRevocations(15)
        await sleep(maxStalenessMs + 500)
      }
    },
  },
  {
    name: 'file-disk-full',
    what: 'the disk under the state file is full for longer than the bound',
    open: smallDiskSite,
    async inflict(_, { dir }) {
      const filler = join(dir, 'filler')
      writeFileSync(filler, '')
      const { bavail, bsize } = statfsSync(dir)
      spawnSync('dd', ['if=/dev/zero', `of=${filler}`, `bs=${bsize}`, `count=${Number(bavail) + 16}`])
      if (statfsSync(dir).bavail > 0) throw new Error('the disk did not become full')
      await sleep(longMs)
      truncateSync(filler)
    },
  },
  {
    name: 'file-moved',
    what: 'the state file is moved away for longer than the bound, then back',
    open: fileSite,
    async inflict(_, { dir }) {
      move(dir, join(dir, 'away'))
      await sleep(longMs)
      move(join(dir, 'away'), dir)
    },
  },
  {
    name: 'file-deleted',
    what: 'the state file is deleted: nothing is served until an operator restores it, nothing revoked passes',
    heals: false,
    async open() {
      const { anew: _, ...site } = await fileSite()
      return site
    },
    async inflict(_, { dir }) {
      for (const suffix of ['', '-wal', '-shm']) rmSync(join(dir, `state.db${suffix}`))
      await sleep(longMs)
    },
  },
]
