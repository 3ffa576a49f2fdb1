#!/usr/bin/env python3
"""convoy study --slurm with Slurm itself: a controller and a node on this machine, the script as a user runs it, and
the bytes of an undisturbed study.

    test_slurm.py --convoy build/gen/convoy"""
import os
import shutil
import socket
import subprocess
import sys
import time

import methods
from methods import check
from study_small import SPEC, write_set

STUDY = """name: small
spec: tiny.yaml
data: tiny.safetensors
variants: {before: {order: conv-bn-act}, after: {order: conv-act-bn}}
primary: [before, after]
seeds: 4
screen: 1
long: 2
"""
# No MUNGE, no cgroups, no database: one node that is this machine, under other ports than a real cluster's.
CONFIG = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Test:
    def __init__(self, convoy, folder):
        self.convoy, self.folder, self.skipped, self.daemons = os.path.abspath(convoy), folder, [], []
        self.env = dict(os.environ, CFLAGS="-O0", SLURM_CONF=os.path.join(folder, "slurm.conf"))

    def slurm(self):
        """Starts the daemons. What is missing, else None."""
        for program in ("slurmctld", "slurmd", "sbatch", "squeue"):
            if not shutil.which(program):
                return "Slurm (Debian: slurmctld slurmd slurm-client)"
        if os.geteuid() != 0:
            return "Slurm's daemons (they need root)"
        for name in ("state", "spool"):
            os.makedirs(os.path.join(self.folder, name))
        with open(self.env["SLURM_CONF"], "w") as f:
            f.write(CONFIG.format(host=socket.gethostname().split(".")[0], folder=self.folder, ports=free_ports(2), cpus=os.cpu_count()))
        for program in ("slurmctld", "slurmd"):
            with open(os.path.join(self.folder, program + ".out"), "w") as out:
                self.daemons.append(subprocess.Popen([program, "-D"], env=self.env, stdout=out, stderr=out, stdin=subprocess.DEVNULL))
        end = time.time() + 60
        while time.time() < end:
            said = subprocess.run(["sinfo", "-h", "-o", "%T"], env=self.env, capture_output=True, text=True).stdout
            if said.strip() in ("idle", "mixed"):
                return None
            time.sleep(.5)
        raise RuntimeError("the node does not come up: %r\n%s" % (said, "".join(open(os.path.join(self.folder, p + ".log")).read()[-2000:] for p in ("slurmctld", "slurmd"))))

    def stop(self):
        for d in self.daemons:
            d.terminate()
        for d in self.daemons:
            d.wait(30)

    def test_slurm(self):
        for name, text in (("tiny.yaml", SPEC), ("study.yaml", STUDY)):
            with open(os.path.join(self.folder, name), "w") as f:
                f.write(text)
        write_set(os.path.join(self.folder, "tiny.safetensors"))
        study, whole, to = (os.path.join(self.folder, x) for x in ("study.yaml", "whole", "with slurm's"))
        r = subprocess.run([self.convoy, "study", study, "-o", whole], capture_output=True, text=True, env=self.env)
        check(r.returncode in (0, 3), "an undisturbed study: %s%s" % (r.stdout, r.stderr))
        try:
            missing = self.slurm()
            if missing:
                self.skipped.append(missing)
                print("skipped: %s" % missing)
                return
            r = subprocess.run([self.convoy, "study", study, "-o", to, "--slurm", "2", "--jobs", "1"], capture_output=True, text=True, env=self.env)
            check(r.returncode == 0, "--slurm: %s%s" % (r.stdout, r.stderr))
            r = subprocess.run(["sh", os.path.join(to, "slurm.sh"), "--time=10"], capture_output=True, text=True, env=self.env, cwd="/")
            check(r.returncode == 0 and "the report will be" in r.stdout, "slurm.sh: %s%s" % (r.stdout, r.stderr))
            end = time.time() + 300
            while time.time() < end and subprocess.run(["squeue", "-h"], env=self.env, capture_output=True, text=True).stdout.strip():
                time.sleep(1)
            said = "".join("%s:\n%s" % (n, open(os.path.join(to, n)).read()) for n in sorted(os.listdir(to)) if n.endswith(".txt"))
            check(os.path.exists(os.path.join(to, "report.html")), "no report after Slurm's jobs:\n%s" % said)
            for name in ("runs.csv", "report.html"):
                check(open(os.path.join(to, name)).read() == open(os.path.join(whole, name)).read(), "%s differs from the undisturbed study's\n%s" % (name, said))
        finally:
            self.stop()


sys.exit(methods.main("Slurm", Test))
