// SPDX-License-Identifier: Apache-2.0
//! Hosts controllers: one supervised life each, independent of the others.
