//! The DNS role: answers as Mesos-DNS does, from the Mesos master's state.
