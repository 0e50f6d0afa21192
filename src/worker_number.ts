// Which of the processes of one gate this is: 1 where there is only one. The supervisor says so in the environment.

/** The environment variable that the supervisor sets. */
export const workerVariable = 'LEASEGATE_WORKER'

/** 1, 2, …; a replacement takes over the number of the process it stands for. */
export function workerNumber(env: NodeJS.ProcessEnv = process.env): number {
  const number = Number(env[workerVariable])
  return Number.isSafeInteger(number) && number > 0 ? number : 1
}
