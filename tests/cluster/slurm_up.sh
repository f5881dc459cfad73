#!/bin/bash
# A real SLURM of one node on loopback, as root and without systemd, for the tests.
#   slurm_up.sh FOLDER start|stop      then: export SLURM_CONF=FOLDER/slurm.conf
# All state lies in FOLDER, which must have a short path (sockets). Needs the Debian packages slurm-wlm and munge.
set -euo pipefail
D=$(realpath -m "${1:?folder for the state of the cluster}")
H=$(hostname -s)
MEMORY=$(($(awk '/MemTotal/{print $2}' /proc/meminfo) / 1024 * 9 / 10))

stop() {
  for name in slurmctld slurmd munged; do
    [ -s "$D/$name.pid" ] || continue
    pid=$(cat "$D/$name.pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep .1; done
    kill -9 "$pid" 2>/dev/null || true
    rm -f "$D/$name.pid"
  done
}
wait_for() { for _ in $(seq 3000); do timeout 20 "$@" >/dev/null 2>&1 && return 0; sleep .1; done; return 1; }

stop
[ "${2:-start}" = stop ] && exit 0
mkdir -p "$D"/{munge,state,spool,log}
chmod 711 "$D/munge"
chmod 700 "$D/state"
(umask 377; head -c 128 /dev/urandom > "$D/munge/munge.key")
munged --key-file="$D/munge/munge.key" --socket="$D/munge/munge.socket" --pid-file="$D/munged.pid" \
  --log-file="$D/log/munged.log" --seed-file="$D/munge/munge.seed"
wait_for munge -S "$D/munge/munge.socket" -n || { cat "$D/log/munged.log"; exit 1; }
# The address is that of the host's own name: torch and srun look up where the first node is.
# Four cores whatever there are, so that three workers run at once; two pretend GPUs from device files that exist anywhere.
# A job that queues itself again waits for the credential of its first start to expire: 5 s here, 120 s by default.
cat > "$D/slurm.conf" <<EOF
ClusterName=one
SlurmctldHost=$H(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$D/munge/munge.socket,cred_expire=5
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile=$D/slurmctld.pid
SlurmdPidFile=$D/slurmd.pid
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=1
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
GresTypes=gpu
AccountingStorageType=accounting_storage/none
ReturnToService=2
InactiveLimit=0
MinJobAge=300
KillWait=120
OverTimeLimit=0
JobRequeue=1
MaxArraySize=1001
DefMemPerCPU=512
NodeName=$H NodeHostname=$H NodeAddr=127.0.0.1 CPUs=4 RealMemory=$MEMORY Gres=gpu:2 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
EOF
echo "NodeName=$H Name=gpu File=/dev/null,/dev/zero" > "$D/gres.conf"
export SLURM_CONF=$D/slurm.conf
slurmctld
slurmd -N "$H"
wait_for bash -c 'sinfo -h -o %t | grep -qE "idle|mix|alloc"' || { sinfo -N -l; tail -n 20 "$D"/log/slurm*.log; exit 1; }
